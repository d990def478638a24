// A machine's screen, keyboard and mouse, over the service's own WebSocket.
const place = document.getElementById("console");
const state = document.getElementById("console-state");
const { default: RFB } = await import(place.dataset.novnc);

let tries = 0;
let rfb;

function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  rfb = new RFB(place, `${scheme}://${location.host}${place.dataset.socket}`, { shared: true });
  rfb.scaleViewport = true;
  rfb.background = "transparent";
  rfb.addEventListener("connect", () => {
    tries = 0;
    state.textContent = "Connected.";
    place.dataset.connected = "";
    rfb.focus();
  });
  rfb.addEventListener("desktopname", (event) => {
    state.textContent = `Connected to ${event.detail.name}.`;
  });
  rfb.addEventListener("disconnect", (event) => {
    delete place.dataset.connected;
    tries += 1;
    const again = Math.min(15, 2 ** tries);
    state.textContent = event.detail.clean
      ? "The machine closed its display: it was turned off, or somebody may no longer look at it."
      : `The connection is lost. Trying again in ${again} seconds …`;
    if (tries < 8) setTimeout(connect, again * 1000);
  });
  rfb.addEventListener("securityfailure", (event) => {
    state.textContent = `The display refuses: ${event.detail.reason || "no reason was given"}.`;
  });
}

document.getElementById("console-cad").addEventListener("click", () => {
  rfb?.sendCtrlAltDel();
  rfb?.focus();
});
document.getElementById("console-full").addEventListener("click", () => {
  place.requestFullscreen?.().then(() => rfb?.focus());
});
// Else the keyboard would never leave the screen.
window.addEventListener("keydown", (event) => {
  if (event.ctrlKey && event.altKey && event.key === "Shift") {
    rfb?.blur();
    document.getElementById("console-cad").focus();
  }
}, true);

connect();
