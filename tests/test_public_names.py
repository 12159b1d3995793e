"""The public API: names and signatures, first of all those of Flask 3.1.3."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
import types
from typing import Any

import pytest

import asyncflask
from asyncflask.blueprints import Blueprint, BlueprintSetupState
from asyncflask.config import Config
from asyncflask.ctx import AppContext, RequestContext
from asyncflask.json.provider import JSONProvider
from asyncflask.sessions import SessionInterface

FLASK_NAMES = """
Blueprint Config Flask Request Response abort after_this_request appcontext_popped
appcontext_pushed appcontext_tearing_down before_render_template copy_current_request_context
current_app flash g get_flashed_messages get_template_attribute got_request_exception
has_app_context has_request_context json jsonify make_response message_flashed redirect
render_template render_template_string request request_finished request_started
request_tearing_down send_file send_from_directory session stream_template
stream_template_string stream_with_context template_rendered url_for
"""

OUR_NAMES = """
EventStream ServerSentEvent WebSocketDisconnect copy_current_websocket_context
has_websocket_context install_as_flask nonblocking render_template_async
render_template_string_async run_sync stream_template_async stream_template_string_async websocket
"""

# What extensions import from submodules.
SUBMODULE_NAMES = {
    "app": "Flask Rule",
    "blueprints": "Blueprint BlueprintSetupState",
    "cli": "AppGroup FlaskGroup ScriptInfo click main with_appcontext",
    "config": "Config ConfigAttribute",
    "ctx": "AppContext RequestContext _AppCtxGlobals",
    "debughelpers": "DebugFilesKeyError FormDataRoutingRedirect UnexpectedUnicodeError",
    "globals": "_cv_app _cv_request app_ctx current_app g request request_ctx session",
    "helpers": "get_debug_flag get_load_dotenv get_root_path _split_blueprint_path",
    "json": "dump dumps jsonify load loads provider tag",
    "json.provider": "DefaultJSONProvider JSONProvider",
    "json.tag": "JSONTag TaggedJSONSerializer",
    "logging": "create_logger default_handler has_level_handler wsgi_errors_stream",
    "sansio.app": "App",
    "sansio.blueprints": "Blueprint BlueprintSetupState",
    "sansio.scaffold": "Scaffold _endpoint_from_view_func find_package setupmethod",
    "sessions": "SecureCookieSession SecureCookieSessionInterface NullSession SessionInterface"
    " SessionMixin TaggedJSONSerializer session_json_serializer",
    "signals": "Namespace template_rendered",
    "templating": "DispatchingJinjaLoader Environment render_template",
    "testing": "EnvironBuilder FlaskClient FlaskCliRunner",
    "typing": "AfterRequestCallable BeforeRequestCallable ErrorHandlerCallable HeadersValue"
    " ResponseReturnValue ResponseValue RouteCallable TeardownCallable",
    "views": "MethodView View",
    "wrappers": "Request RequestBase Response ResponseBase",
}

# The signatures of Flask 3.1.3, without annotations. `...` is a default that only says "none".

SCAFFOLD = """
_check_setup_finished(self, f_name)
_get_exc_class_and_code(exc_class_or_code)
_method_route(self, method, rule, options)
add_url_rule(self, rule, endpoint=None, view_func=None, provide_automatic_options=None,
    **options)
after_request(self, f)
before_request(self, f)
context_processor(self, f)
delete(self, rule, **options)
endpoint(self, endpoint)
errorhandler(self, code_or_exception)
get(self, rule, **options)
patch(self, rule, **options)
post(self, rule, **options)
put(self, rule, **options)
register_error_handler(self, code_or_exception, f)
route(self, rule, **options)
teardown_request(self, f)
url_defaults(self, f)
url_value_preprocessor(self, f)
"""

FLASK = """
__init__(self, import_name, static_url_path=None, static_folder='static', static_host=None,
    host_matching=False, subdomain_matching=False, template_folder='templates',
    instance_path=None, instance_relative_config=False, root_path=None)
_find_error_handler(self, e, blueprints)
add_template_filter(self, f, name=None)
add_template_global(self, f, name=None)
add_template_test(self, f, name=None)
app_context(self)
async_to_sync(self, func)
auto_find_instance_path(self)
create_global_jinja_loader(self)
create_jinja_environment(self)
create_url_adapter(self, request)
dispatch_request(self)
do_teardown_appcontext(self, exc=...)
do_teardown_request(self, exc=...)
ensure_sync(self, func)
finalize_request(self, rv, from_error_handler=False)
full_dispatch_request(self)
get_send_file_max_age(self, filename)
handle_exception(self, e)
handle_http_exception(self, e)
handle_url_build_error(self, error, endpoint, values)
handle_user_exception(self, e)
inject_url_defaults(self, endpoint, values)
iter_blueprints(self)
log_exception(self, exc_info)
make_aborter(self)
make_config(self, instance_relative=False)
make_default_options_response(self)
make_response(self, rv)
make_shell_context(self)
open_instance_resource(self, resource, mode='rb', encoding='utf-8')
open_resource(self, resource, mode='rb', encoding=None)
preprocess_request(self)
process_response(self, response)
raise_routing_exception(self, request)
redirect(self, location, code=302)
register_blueprint(self, blueprint, **options)
request_context(self, environ)
run(self, host=None, port=None, debug=None, load_dotenv=True, **options)
select_jinja_autoescape(self, filename)
send_static_file(self, filename)
shell_context_processor(self, f)
should_ignore_error(self, error)
teardown_appcontext(self, f)
template_filter(self, name=None)
template_global(self, name=None)
template_test(self, name=None)
test_cli_runner(self, **kwargs)
test_client(self, use_cookies=True, **kwargs)
test_request_context(self, *args, **kwargs)
trap_http_exception(self, e)
update_template_context(self, context)
url_for(self, /, endpoint, *, _anchor=None, _method=None, _scheme=None, _external=None, **values)
wsgi_app(self, environ, start_response)
"""

BLUEPRINT = """
__init__(self, name, import_name, static_folder=None, static_url_path=None,
    template_folder=None, url_prefix=None, subdomain=None, url_defaults=None, root_path=None,
    cli_group=...)
_merge_blueprint_funcs(self, app, name)
add_app_template_filter(self, f, name=None)
add_app_template_global(self, f, name=None)
add_app_template_test(self, f, name=None)
after_app_request(self, f)
app_context_processor(self, f)
app_errorhandler(self, code)
app_template_filter(self, name=None)
app_template_global(self, name=None)
app_template_test(self, name=None)
app_url_defaults(self, f)
app_url_value_preprocessor(self, f)
before_app_request(self, f)
get_send_file_max_age(self, filename)
make_setup_state(self, app, options, first_registration=False)
open_resource(self, resource, mode='rb', encoding='utf-8')
record(self, func)
record_once(self, func)
register(self, app, options)
register_blueprint(self, blueprint, **options)
send_static_file(self, filename)
teardown_app_request(self, f)
"""

SESSION_INTERFACE = """
get_cookie_domain(self, app)
get_cookie_httponly(self, app)
get_cookie_name(self, app)
get_cookie_partitioned(self, app)
get_cookie_path(self, app)
get_cookie_samesite(self, app)
get_cookie_secure(self, app)
get_expiration_time(self, app, session)
is_null_session(self, obj)
make_null_session(self, app)
open_session(self, app, request)
save_session(self, app, session, response)
should_set_cookie(self, app, session)
"""

REQUEST_CONTEXT = """
__init__(self, app, environ, request=None, session=None)
copy(self)
match_request(self)
pop(self, exc=...)
push(self)
"""

APP_CONTEXT = """
__init__(self, app)
pop(self, exc=...)
push(self)
"""

SETUP_STATE = """
__init__(self, blueprint, app, options, first_registration)
add_url_rule(self, rule, endpoint=None, view_func=None, **options)
"""

JSON_PROVIDER = """
__init__(self, app)
_prepare_response_obj(self, args, kwargs)
dump(self, obj, fp, **kwargs)
dumps(self, obj, **kwargs)
load(self, fp, **kwargs)
loads(self, s, **kwargs)
response(self, *args, **kwargs)
"""

CONFIG = """
from_envvar(self, variable_name, silent=False)
from_file(self, filename, load, silent=False, text=True)
from_mapping(self, mapping=None, **kwargs)
from_object(self, obj)
from_prefixed_env(self, prefix='FLASK', *, loads=...)
from_pyfile(self, filename, silent=False)
get_namespace(self, namespace, lowercase=True, trim_namespace=True)
"""

FUNCTIONS = """
abort(code, *args, **kwargs)
after_this_request(f)
copy_current_request_context(f)
flash(message, category='message')
get_flashed_messages(with_categories=False, category_filter=())
get_template_attribute(template_name, attribute)
has_app_context()
has_request_context()
jsonify(*args, **kwargs)
make_response(*args)
redirect(location, code=302, Response=None)
render_template(template_name_or_list, **context)
render_template_string(source, **context)
send_file(path_or_file, mimetype=None, as_attachment=False, download_name=None,
    conditional=True, etag=True, last_modified=None, max_age=None)
send_from_directory(directory, path, **kwargs)
stream_template(template_name_or_list, **context)
stream_template_string(source, **context)
stream_with_context(generator_or_function)
url_for(endpoint, *, _anchor=None, _method=None, _scheme=None, _external=None, **values)
"""

TABLES: list[tuple[Any, str]] = [
    (asyncflask.Flask, SCAFFOLD),
    (Blueprint, SCAFFOLD),
    (asyncflask.Flask, FLASK),
    (Blueprint, BLUEPRINT),
    (SessionInterface, SESSION_INTERFACE),
    (RequestContext, REQUEST_CONTEXT),
    (AppContext, APP_CONTEXT),
    (BlueprintSetupState, SETUP_STATE),
    (JSONProvider, JSON_PROVIDER),
    (Config, CONFIG),
    (asyncflask, FUNCTIONS),
]

ADDED_PARAMETERS = {(asyncflask.Flask, "__init__"): "lifespan"}


def lines(table: str) -> list[str]:
    return table.strip().replace("\n    ", " ").split("\n")


def signature(func: Any, without: str | None = None) -> str:
    """As in the tables."""
    parameters = []
    for parameter in inspect.signature(func).parameters.values():
        default: Any = parameter.default
        if type(default) is object or inspect.isfunction(default):
            default = ...
        if parameter.name != without:
            parameters.append(parameter.replace(default=default, annotation=parameter.empty))
    return str(inspect.Signature(parameters)).replace("Ellipsis", "...")


def test_names_of_the_package() -> None:
    expected = sorted((FLASK_NAMES + OUR_NAMES).split())
    assert asyncflask.__all__ == expected
    assert set(expected) <= set(dir(asyncflask))
    public = {
        name
        for name, value in vars(asyncflask).items()
        if not name.startswith("_")
        # Not the submodules, which are attributes once they have been imported, and not those.
        and not (isinstance(value, types.ModuleType) and name != "json")
        and name not in ("annotations", "Any", "FLASK_VERSION", "TYPE_CHECKING", "import_module")
    }
    assert public <= set(expected)
    starred: dict[str, Any] = {}
    exec("from asyncflask import *", starred)
    del starred["__builtins__"]
    assert sorted(starred) == expected


HEAVY = (
    *("jinja2", "click", "starlette.websockets", "starlette.routing", "anyio", "uvicorn"),
    *("watchfiles", "asyncflask.loop_guard", "asyncflask.events"),
)


def test_import_takes_no_more_than_an_app_needs() -> None:
    # What is loaded later comes with its first use, from the package and as an attribute of it.
    code = f"""
import sys
import asyncflask
app = asyncflask.Flask("app")
bp = asyncflask.Blueprint("bp", "app")
app.register_blueprint(bp)
app.add_url_rule("/", view_func=lambda: "data", endpoint="index")
print([name for name in {HEAVY} if name in sys.modules])
print(asyncflask.render_template is asyncflask.templating.render_template)
print(asyncflask.cli.AppGroup is type(app.cli))
print(app.jinja_environment is type(app).jinja_environment is asyncflask.templating.Environment)
print("starlette.websockets" in sys.modules)
app.add_url_rule("/socket", view_func=lambda: None, endpoint="socket", websocket=True)
print("starlette.websockets" in sys.modules)
from starlette.websockets import WebSocketDisconnect
print(asyncflask.WebSocketDisconnect is WebSocketDisconnect)
print(asyncflask.testing.FlaskClient is type(app.test_client()))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["[]", "True", "True", "True", "False", "True", "True", "True"]


def test_version_is_the_one_of_flasks_api() -> None:
    assert asyncflask.__version__ == "3.1.3"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = asyncflask.nothing


@pytest.mark.parametrize("module", SUBMODULE_NAMES)
def test_names_of_submodules(module: str) -> None:
    found = importlib.import_module(f"asyncflask.{module}")
    names = SUBMODULE_NAMES[module].split()
    assert [name for name in names if not hasattr(found, name)] == []


@pytest.mark.parametrize(
    ("owner", "line"),
    [
        pytest.param(owner, line, id=f"{owner.__name__}-{line.partition('(')[0]}")
        for owner, table in TABLES
        for line in lines(table)
    ],
)
def test_signatures(owner: Any, line: str) -> None:
    name = line.partition("(")[0]
    is_module = isinstance(owner, types.ModuleType)  # some of its names are loaded when asked for
    func = getattr(owner, name) if is_module else inspect.getattr_static(owner, name)
    if isinstance(func, classmethod | staticmethod):
        func = func.__func__
    assert name + signature(func, ADDED_PARAMETERS.get((owner, name))) == line
