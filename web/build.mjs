// Bundle src/ into coppice/http/static/app/: the page that the service serves, which needs no node to be served.
import { copyFileSync, statSync } from "node:fs";
import { build } from "esbuild";

/** What the page may weigh in all, so that it is there at once on a slow line, too. */
const MOST_BYTES = 500_000;
const OUT = new URL("../coppice/http/static/app/", import.meta.url);

await build({
  entryPoints: { app: "src/main.tsx" },
  outdir: OUT.pathname,
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2022"],
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "eof",
  logLevel: "warning",
});
copyFileSync(new URL("src/index.html", import.meta.url), new URL("index.html", OUT));

const sizes = ["index.html", "app.js", "app.css"].map((file) => [file, statSync(new URL(file, OUT)).size]);
const total = sizes.reduce((sum, [, size]) => sum + size, 0);
console.log(sizes.map(([file, size]) => `${file} ${size.toLocaleString("en")}`).join(", "), `= ${total.toLocaleString("en")} bytes`);
if (total >= MOST_BYTES) {
  console.error(`the page has ${total} bytes; it may have ${MOST_BYTES}`);
  process.exitCode = 1;
}
