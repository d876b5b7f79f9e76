// The page: takes a text or a file, has it diagnosed, shows the report in a sandboxed frame.
const $ = (id) => document.getElementById(id);
const status = (text, wrong = false) => { $("status").textContent = text; $("status").classList.toggle("wrong", wrong); };
let file = null, engine = null, saved = "";

async function startEngine() {
  const { engine: kind } = await (await fetch("engine.json")).json();
  if (kind === "server") {
    return async (bytes, name, redact) => {
      const answer = await fetch("report?" + new URLSearchParams({ name, redact: redact ? "1" : "0" }), { method: "POST", body: bytes, headers: { "Content-Type": "application/octet-stream" } });
      return { good: answer.ok, text: await answer.text() };
    };
  }
  const worker = new Worker("worker.js", { type: "module" });
  let answered = null;
  worker.onmessage = (event) => answered(event.data);
  worker.onerror = (event) => answered({ good: false, text: "Python could not be started in this browser: " + event.message });
  return (bytes, name, redact) => new Promise((resolve) => {
    answered = resolve;
    worker.postMessage({ bytes, name, redact }, [bytes.buffer]);
  });
}

async function diagnose() {
  const bytes = file ? new Uint8Array(await file.arrayBuffer()) : new TextEncoder().encode($("trace").value);
  if (!bytes.length) { status("Paste a trace first, or choose a file.", true); return; }
  $("go").disabled = true;
  status(engine ? "Reading\u2026" : "Starting Python, some seconds the first time\u2026");
  try {
    engine ??= await startEngine();
    const { good, text } = await engine(bytes, file ? file.name : "pasted text", $("redact").checked);
    $("report").hidden = !good;
    $("save").hidden = !good;
    status(good ? "The report stands below." : text, !good);
    if (good) {
      $("report").srcdoc = text;
      URL.revokeObjectURL(saved);
      saved = URL.createObjectURL(new Blob([text], { type: "text/html" }));
      $("save").href = saved;
    }
  } catch (error) {
    engine = null;
    status("It failed: " + error.message, true);
  }
  $("go").disabled = false;
}

function choose(chosen) {
  file = chosen;
  if (file) { $("trace").value = ""; $("trace").placeholder = file.name; diagnose(); }
}

$("form").addEventListener("submit", (event) => { event.preventDefault(); diagnose(); });
$("trace").addEventListener("input", () => { file = null; $("file").value = ""; });
$("file").addEventListener("change", () => choose($("file").files[0] ?? null));
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $("trace").classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) choose(event.dataTransfer.files[0]);
    else if (kind === "drop") { file = null; $("trace").value = event.dataTransfer.getData("text"); diagnose(); }
  });
}
