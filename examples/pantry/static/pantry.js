const { items: url, changes } = document.body.dataset;
const list = document.getElementById("list");
const problem = document.getElementById("problem");
const status = document.getElementById("status");
const form = document.getElementById("new");

async function ask(method, path, body) {
  const options = { method, headers: { "Content-Type": "application/json" } };
  const response = await fetch(path, body ? { ...options, body: JSON.stringify(body) } : options);
  const answer = await response.json();
  problem.hidden = response.ok;
  if (!response.ok) {
    const [error] = answer.errors ?? [];
    const field = error?.pointer?.split("/").pop();
    problem.textContent = error ? `${field}: ${error.detail}` : answer.detail ?? answer.title;
  }
  return response.ok;
}

function show(item, isNew) {
  let line = document.getElementById(`item-${item.id}`);
  if (!line) {
    line = document.createElement("li");
    line.id = `item-${item.id}`;
    line.classList.toggle("new", isNew);
    line.innerHTML = '<label><input type="checkbox"><span class="what"><b></b> <span></span></span><span class="by"></span></label>';
    line.querySelector("input").addEventListener("change", (event) =>
      ask("PUT", `${url}/${item.id}/done?done=${event.target.checked}`));
    list.append(line);
  }
  line.classList.toggle("done", item.done);
  line.querySelector("input").checked = item.done;
  line.querySelector("b").textContent = item.amount > 1 ? `${item.amount} ×` : "";
  line.querySelector(".what span").textContent = item.name;
  line.querySelector(".by").textContent = item.by;
  const left = list.querySelectorAll("li:not(.done)").length;
  document.getElementById("left").textContent = left ? `${left} to buy` : "nothing to buy";
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { name, amount } = Object.fromEntries(new FormData(form));
  if (await ask("POST", url, { name, amount: Number(amount) })) form.reset();
  form.elements.name.focus();
});

const source = new EventSource(changes);
source.onmessage = (event) => show(JSON.parse(event.data), true);
source.onopen = async () => {
  for (const item of await (await fetch(url)).json()) show(item, false); // while it was not open
  status.dataset.state = "open";
  status.textContent = "Live";
};
source.onerror = () => { status.dataset.state = "waiting"; status.textContent = "Reconnecting"; };
