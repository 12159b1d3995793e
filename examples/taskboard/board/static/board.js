const list = document.querySelector(".tasks");

async function load() {
  const response = await fetch("/tasks");
  if (response.redirected) location.reload(); // no longer logged in
  else if (response.ok) list.innerHTML = await response.text();
}

function connect() {
  const socket = new WebSocket(location.origin.replace("http", "ws") + "/live");
  socket.onopen = socket.onmessage = load;
  socket.onclose = () => setTimeout(connect, 1000);
}

connect();
