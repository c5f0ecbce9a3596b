// Bundles the page into the Python package. Terminals and screens are files of their own, which a
// browser loads when it shows the first one.
import { build } from "esbuild";
import { cp, mkdir, rm } from "node:fs/promises";

const LICENSES = {
  "@novnc/novnc": "LICENSE.txt",
  "@xterm/addon-fit": "LICENSE",
  "@xterm/xterm": "LICENSE",
  preact: "LICENSE",
};

const target = new URL("../src/bimetal/web/static/", import.meta.url).pathname;

await rm(target, { recursive: true, force: true });
await cp("public", target, { recursive: true });
await build({
  entryPoints: ["src/main.tsx"],
  outdir: target,
  bundle: true,
  splitting: true,
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "none",
  jsx: "automatic",
  jsxImportSource: "preact",
  logLevel: "info",
});
await mkdir(`${target}licenses`);
for (const [name, file] of Object.entries(LICENSES)) {
  await cp(`node_modules/${name}/${file}`, `${target}licenses/${name.replace("/", "+")}.txt`);
}
