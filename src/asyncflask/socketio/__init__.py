"""Socket.IO with Flask-SocketIO's API, based on python-socketio's asyncio server. Needs the
extra `socketio`. After `install_as_flask()`, `import flask_socketio` gives this package."""

from .core import SocketIO as SocketIO
from .functions import call as call
from .functions import close_room as close_room
from .functions import disconnect as disconnect
from .functions import emit as emit
from .functions import join_room as join_room
from .functions import leave_room as leave_room
from .functions import rooms as rooms
from .functions import send as send
from .limits import SocketIOLimit as SocketIOLimit
from .namespace import Namespace as Namespace
from .server import ConnectionRefusedError as ConnectionRefusedError
from .test_client import SocketIOTestClient as SocketIOTestClient
