// Decide requests as IAM does. Reads a JSON list of simulations from standard input, and
// writes the list of what each comes to. The argument is the folder with node_modules.
const path = require("node:path");
const { createRequire } = require("node:module");
const { runSimulation } = createRequire(path.resolve(process.argv[2], "package.json"))(
  "@cloud-copilot/iam-simulate",
);

async function main() {
  const chunks = [];
  for await (const chunk of process.stdin) chunks.push(chunk);
  const answers = [];
  for (const simulation of JSON.parse(Buffer.concat(chunks).toString())) {
    const found = await runSimulation(simulation, { simulationMode: "Strict" });
    if (found.resultType === "error") throw new Error(JSON.stringify(found.errors));
    answers.push(found.overallResult);
  }
  process.stdout.write(JSON.stringify(answers));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
