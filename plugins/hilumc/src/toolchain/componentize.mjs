// Makes a component of a JavaScript module. hilumc runs this with node in the plugin's folder: SOURCE WORLD OUTPUT.
// Ends with 3 if the package that does it is not installed; its name is then on standard output.
import { readFile, writeFile } from "node:fs/promises";

const [source, world, output] = process.argv.slice(1);
const { dependencies, devDependencies } = JSON.parse(await readFile("package.json", "utf8"));
// SpiderMonkey is ten times QuickJS in every respect, so it is used only where the package asks for it by name.
const spiderMonkey = "@bytecodealliance/componentize-js";
const engine = spiderMonkey in { ...dependencies, ...devDependencies } ? spiderMonkey : "componentize-qjs";

let componentize;
try {
  ({ componentize } = await import(engine));
} catch (error) {
  if (error.code !== "ERR_MODULE_NOT_FOUND") throw error;
  console.log(engine);
  process.exit(3);
}

// Neither gets WASI: what a plugin may do is what hilum:host offers.
const { component } = await componentize(
  engine === spiderMonkey
    ? {
        sourcePath: source,
        witPath: "wit",
        worldName: world,
        disableFeatures: ["stdio", "random", "clocks", "http", "fetch-event"],
      }
    : {
        jsSource: await readFile(source, "utf8"),
        jsPath: source,
        moduleRoot: ".",
        witPath: "wit",
        world,
        stubWasi: true,
        sync: true,
        optSize: true,
      },
);
await writeFile(output, component);
