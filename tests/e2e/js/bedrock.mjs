// What a user of the AWS SDK for JavaScript sees. The job is read from standard input as JSON, and what each of its
// calls showed is printed as JSON:
//
//   node bedrock.mjs FOLDER    FOLDER holds node_modules
//
//   job: {endpoint?, region?, accessKeyId?, secretAccessKey?, handler?: "http1",
//         calls: [{name, operation, input, abortAfterEvents?, abortAfterMs?}]}
//
// What is left out, the SDK finds for itself.
import { createRequire } from "node:module";
import { join } from "node:path";
import { text } from "node:stream/consumers";

const require = createRequire(join(process.argv[2], "package.json"));
const bedrock = require("@aws-sdk/client-bedrock-runtime");
const { NodeHttpHandler } = require("@smithy/node-http-handler");

const utf8 = new TextDecoder();

/** The members of an event, with bytes read as the JSON that they are. */
function shown(event) {
  return event.chunk ? { chunk: JSON.parse(utf8.decode(event.chunk.bytes)) } : event;
}

async function run(client, call) {
  const aborting = new AbortController();
  const command = new bedrock[`${call.operation}Command`](call.input);
  if (call.abortAfterMs) setTimeout(() => aborting.abort(), call.abortAfterMs);
  const seen = { requestId: null, answer: null, events: [], error: null };
  try {
    const { $metadata, ...answer } = await client.send(command, { abortSignal: aborting.signal });
    seen.requestId = $metadata.requestId;
    const stream = answer.stream ?? (call.operation.endsWith("Stream") ? answer.body : null);
    if (stream === null) {
      seen.answer = answer.body ? JSON.parse(utf8.decode(answer.body)) : answer;
      return seen;
    }
    for await (const event of stream) {
      seen.events.push(shown(event));
      if (seen.events.length === call.abortAfterEvents) aborting.abort();
    }
  } catch (error) {
    seen.error = { name: error.name, status: error.$metadata?.httpStatusCode ?? null, message: error.message };
  }
  return seen;
}

const job = JSON.parse(await text(process.stdin));
const client = new bedrock.BedrockRuntimeClient({
  endpoint: job.endpoint,
  region: job.region,
  ...(job.accessKeyId && { credentials: { accessKeyId: job.accessKeyId, secretAccessKey: job.secretAccessKey } }),
  maxAttempts: 1,
  ...(job.handler === "http1" ? { requestHandler: new NodeHttpHandler() } : {}),
});
const seen = {};
for (const call of job.calls) {
  seen[call.name] = await run(client, call);
}
client.destroy();
console.log(JSON.stringify(seen));
