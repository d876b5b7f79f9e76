// Copies the layout library out of node_modules, its licence in front ("npm run vendor").
import { readFileSync, writeFileSync } from "node:fs";

const from = new URL("../../../node_modules/@dagrejs/dagre/", import.meta.url);
const to = new URL("./", import.meta.url);
const { version } = JSON.parse(readFileSync(new URL("package.json", from), "utf8"));
const licence = readFileSync(new URL("LICENSE", from), "utf8").trim();
const code = readFileSync(new URL("dist/dagre.min.js", from), "utf8")
  .replace(/\/\/# sourceMappingURL=.*/g, "")
  .replace(/\/\*! For license information.*?\*\//g, "")
  .trim();
writeFileSync(new URL("dagre.min.js", to), `/*! @dagrejs/dagre ${version}\n${licence}\n*/\n${code}\n`);
writeFileSync(new URL("dagre.LICENSE", to), licence + "\n");
