// NNI's manager has no login and runs commands, so this lets it listen on this machine's own address alone.
// Node loads it before the manager, by NODE_OPTIONS, which the trials shall not inherit.
const { Server } = require("net");

const listen = Server.prototype.listen;
Server.prototype.listen = function (port, ...others) {
  const isPort = ["number", "string"].includes(typeof port) && Number.isInteger(Number(port));
  const callbacks = others.filter((other) => typeof other === "function");
  return isPort ? listen.call(this, { port: Number(port), host: "127.0.0.1" }, ...callbacks) : listen.call(this, port, ...others);
};

delete process.env.NODE_OPTIONS;
