// Internal snapshots of all disks of a running guest at one moment, over QMP, with nothing but Node.
//
//     node snapshot.mjs SOCKET TAG        prints a line of JSON: the disks, and the tags that each has now
import { createConnection } from "node:net";
import { createInterface } from "node:readline";

const [path, tag] = process.argv.slice(2);
if (!path || !tag) {
  console.error("usage: node snapshot.mjs SOCKET TAG");
  process.exit(2);
}

/** A monitor: commands one after the other, events put aside. */
class Monitor {
  #socket;
  #lines;

  static async connect(path) {
    const monitor = new Monitor();
    monitor.#socket = createConnection(path);
    await new Promise((resolve, reject) => monitor.#socket.once("connect", resolve).once("error", reject));
    monitor.#lines = createInterface({ input: monitor.#socket })[Symbol.asyncIterator]();
    const greeting = await monitor.#message();
    if (!greeting.QMP) throw new Error("this is no QMP monitor");
    await monitor.execute("qmp_capabilities");
    return monitor;
  }

  async execute(command, args) {
    this.#socket.write(JSON.stringify({ execute: command, arguments: args }) + "\r\n");
    for (;;) {
      const message = await this.#message();
      if ("error" in message) throw new Error(`${command}: ${message.error.desc}`);
      if ("return" in message) return message.return;
    }
  }

  close() {
    this.#socket.end();
  }

  async #message() {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error("the monitor hung up; nobody knows whether the last command took effect");
    return JSON.parse(value);
  }
}

const writable = block => block.inserted && !block.inserted.ro && block.inserted.drv === "qcow2";
const tags = block => (block.inserted.image.snapshots ?? []).map(snapshot => snapshot.name);
const where = block => block.inserted["node-name"];

const monitor = await Monitor.connect(path);
try {
  const disks = (await monitor.execute("query-block")).filter(writable);
  if (!disks.length) throw new Error("there is no disk that could hold a snapshot");
  const taken = disks.filter(disk => tags(disk).includes(tag));
  if (taken.length) throw new Error(`${where(taken[0])} has a snapshot ${tag} already`);
  const actions = disks.map(disk => ({
    type: "blockdev-snapshot-internal-sync",
    data: { device: where(disk), name: tag },
  }));
  await monitor.execute("transaction", { actions });
  // Looked at, not believed.
  const after = (await monitor.execute("query-block")).filter(writable);
  const missing = after.filter(disk => !tags(disk).includes(tag));
  if (missing.length) throw new Error(`${where(missing[0])} has no snapshot ${tag}`);
  console.log(JSON.stringify(after.map(disk => ({ disk: where(disk), tags: tags(disk) }))));
} catch (error) {
  console.error(`snapshot: ${error.message}`);
  process.exitCode = 1;
} finally {
  monitor.close();
}
