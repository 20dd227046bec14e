// Listens for clicks on anything that carries data-fn-open and tells Python which source to open. One listener serves
// the page, however often Streamlit calls the function below with fresh data.
let opened = "";
let send = () => {};
let wishes = 0;
let listening = false;
let opener = null;

// A state with a number rather than Streamlit's trigger: a trigger that waits to be sent is lost when a re-run ends at
// that moment (streamlit issue 16732), a state stays until the next one. The number tells two equal wishes apart.
function wish(source) {
  wishes += 1;
  send("wish", { number: wishes, source });
}

const panel = () => document.querySelector(".st-key-fn-source");

async function copy(button) {
  const text = button.dataset.fnCopy;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Over plain HTTP from another machine a browser has no clipboard for scripts; an old command still works there.
    const area = Object.assign(document.createElement("textarea"), { value: text });
    button.after(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  button.textContent = "Copied";
  document.querySelector("[data-fn-listening]").textContent = "Copied";
  setTimeout(() => (button.textContent = "Copy"), 2000);
}

function onClick(event) {
  const copied = event.target.closest?.("[data-fn-copy]");
  if (copied) return void copy(copied);
  const target = event.target.closest?.("[data-fn-open]");
  if (!target) return;
  opener = target.dataset.fnOpen;
  wish(opener);
}

function onKey(event) {
  if (event.key !== "Escape" || !opened || !panel() || document.querySelector('[role="dialog"]')) return;
  event.preventDefault();
  wish("");
}

function markPressed() {
  for (const element of document.querySelectorAll("[data-fn-open]")) {
    element.setAttribute("aria-pressed", String(element.dataset.fnOpen === opened));
  }
}

// The panel arrives some frames after the data that announces it.
function whenShown(reference, act, tries = 120) {
  const shown = document.querySelector(`.st-key-fn-source [data-fn-source="${CSS.escape(reference)}"]`);
  if (shown) act(shown);
  else if (tries && opened === reference) requestAnimationFrame(() => whenShown(reference, act, tries - 1));
}

function showMark(shown) {
  markPressed();
  const mark = shown.querySelector("[data-fn-mark]");
  mark?.scrollIntoView({ block: "center", inline: "nearest" });
  shown.focus({ preventScroll: true });
}

export default function ({ data, setStateValue, parentElement }) {
  send = setStateValue;
  if (!listening) {
    document.addEventListener("click", onClick);
    document.addEventListener("keydown", onKey);
    listening = true;
  }
  const status = parentElement.querySelector("[role=status]");
  if (status) {
    status.dataset.fnListening = "";
    if (status.textContent !== data.status) status.textContent = data.status;
  }

  const before = opened;
  opened = data.opened;
  markPressed();
  if (opened && opened !== before) whenShown(opened, showMark);
  if (!opened && before && opener) {
    document.querySelector(`[data-fn-open="${CSS.escape(opener)}"]`)?.focus({ preventScroll: true });
  }
  return () => {
    document.removeEventListener("click", onClick);
    document.removeEventListener("keydown", onKey);
    listening = false;
  };
}
