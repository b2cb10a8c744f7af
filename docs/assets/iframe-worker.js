// Search without a server: browsers refuse workers on file://, so there a hidden frame runs the script instead.
// It offers what the theme's search asks of a worker: messages both ways, and importScripts.
(function () {
  "use strict";
  if (window.location.protocol !== "file:") return;

  function FrameWorker(url) {
    var worker = this;
    var waiting = [];
    var inner = null;
    worker.listeners = [];
    var frame = document.createElement("iframe");
    frame.hidden = true;
    frame.title = "search";
    frame.setAttribute("aria-hidden", "true");
    document.documentElement.appendChild(frame);
    var scope = frame.contentWindow;
    scope.document.open();
    scope.document.close();

    function run(address, done) {
      var script = scope.document.createElement("script");
      script.src = address;
      script.onload = done;
      script.onerror = function () { done(new Error("cannot load " + address)); };
      scope.document.body.appendChild(script);
    }

    scope.importScripts = function () {
      return Array.prototype.reduce.call(arguments, function (before, address) {
        return before.then(function () {
          return new Promise(function (resolve, reject) {
            run(new URL(address, url).href, function (problem) {
              return problem instanceof Error ? reject(problem) : resolve();
            });
          });
        });
      }, Promise.resolve());
    };
    scope.addEventListener = function (type, listener) {
      if (type === "message") inner = listener;
    };
    scope.postMessage = function (data) {
      var event = new MessageEvent("message", { data: data });
      worker.listeners.forEach(function (listener) { listener.call(worker, event); });
      if (typeof worker.onmessage === "function") worker.onmessage(event);
    };
    worker.postMessage = function (data) {
      if (inner) inner(new MessageEvent("message", { data: data }));
      else waiting.push(data);
    };
    worker.addEventListener = function (type, listener) {
      if (type === "message") worker.listeners.push(listener);
    };
    worker.removeEventListener = function (type, listener) {
      worker.listeners = worker.listeners.filter(function (each) { return each !== listener; });
    };
    worker.terminate = function () { frame.remove(); };

    run(url, function () { waiting.splice(0).forEach(worker.postMessage); });
  }

  window.Worker = FrameWorker;
})();
