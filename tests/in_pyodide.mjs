// Runs the Python program on standard input in Pyodide, with wheels unpacked into it:
//
//     node in_pyodide.mjs <Pyodide's folder> <wheel> ... < program.py

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { pathToFileURL } from "node:url";

const [folder, ...wheels] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(join(folder, "pyodide.mjs")));

try {
  const python = await loadPyodide();
  for (const wheel of wheels) python.unpackArchive(new Uint8Array(await readFile(wheel)), "wheel");
  await python.runPythonAsync(await text(process.stdin));
} catch (error) {
  console.error(error.message); // Not the error itself: node would show a megabyte of source with it.
  process.exitCode = 1;
}
