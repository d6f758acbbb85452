// Loaded before kinesis-local, which binds every interface and has no setting for it: nothing listens beyond loopback.
// It also ends the process with the one that started it, however that ends: then the kernel closes the pipe on stdin.
const net = require("node:net");

const LOOPBACK = "127.0.0.1";
const listen = net.Server.prototype.listen;

net.Server.prototype.listen = function (...given) {
  const callback = given.findLast((argument) => typeof argument === "function");
  const options = typeof given[0] === "object" ? given[0] : { port: given[0] };
  return listen.call(this, { ...options, host: LOOPBACK }, callback);
};

process.stdin.on("end", () => process.exit()).resume();
