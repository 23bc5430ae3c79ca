// Runs Azurite's table service for one test process: on a free port, in memory, until the other end of stdin is gone.
// Prints `ready PORT` once it takes requests. Accounts come from AZURITE_ACCOUNTS, as Azurite documents it.
import { createRequire } from "node:module";

// The kernel closes the pipe however the test process ends, SIGKILL included; nothing else is as sure.
const leave = () => process.exit(0);
process.stdin.on("end", leave).on("error", leave).resume();

// The classes and not Azurite's command line: that one prints the port it was given, never the one it got for port 0.
const require = createRequire(import.meta.url);
const { default: Server } = require("azurite/dist/src/table/TableServer.js");
const { default: Configuration } = require("azurite/dist/src/table/TableConfiguration.js");

const KEEP_ALIVE_SECONDS = 5;
const configuration = new Configuration(
  "127.0.0.1",
  0,
  KEEP_ALIVE_SECONDS,
  "unused, since nothing is written to disk",
  false, // debug log
  false, // access log
  undefined,
  undefined,
  false, // loose
  true, // skip the check of the API version
  "",
  "",
  "",
  undefined,
  false,
  true, // in memory
);

const server = new Server(configuration);
await server.start();
console.log(`ready ${new URL(server.getHttpServerAddress()).port}`);
