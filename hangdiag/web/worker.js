// Runs hangdiag itself in Pyodide, away from the page's own thread. Everything comes from this site.
import { loadPyodide } from "./pyodide/pyodide.mjs";

const ready = (async () => {
  const python = await loadPyodide({ indexURL: new URL("./pyodide/", import.meta.url).href });
  const archive = await (await fetch("hangdiag.zip")).arrayBuffer();
  python.unpackArchive(archive, "zip", { extractDir: "/hangdiag" });
  python.runPython("import sys; sys.path.insert(0, '/hangdiag')");
  return python.pyimport("hangdiag.web.engine");
})();

onmessage = async (event) => {
  const { bytes, name, redact } = event.data;
  try {
    const engine = await ready;
    const answer = engine.answer.callKwargs({ data: bytes, name, redact });
    const [good, text] = answer.toJs();
    answer.destroy();
    postMessage({ good, text });
  } catch (error) {
    postMessage({ good: false, text: String(error.message).trim().split("\n").pop() });
  }
};
