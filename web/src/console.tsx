// The serial console of a machine, in a terminal.

import "@xterm/xterm/css/xterm.css";
import { useEffect, useRef, useState } from "preact/hooks";
import { of, socketTo } from "./api";
import type { Shown } from "./machine";

const DARK = matchMedia("(prefers-color-scheme: dark)");

/** The colors of the page, as they are where the terminal is. */
function theme(place: HTMLElement): Record<string, string> {
  const { backgroundColor, color } = getComputedStyle(place);
  return {
    background: backgroundColor,
    foreground: color,
    cursor: color,
    cursorAccent: backgroundColor,
    selectionBackground: "#4a90a480",
  };
}

export function Console({ machine }: Shown) {
  const place = useRef<HTMLDivElement>(null);
  const [ended, setEnded] = useState("");
  const [round, setRound] = useState(0);
  useEffect(() => {
    if (machine.id === 0) return;
    setEnded("");
    let over = false;
    let finish = () => {};
    void Promise.all([import("@xterm/xterm"), import("@xterm/addon-fit")]).then(
      ([{ Terminal }, { FitAddon }]) => {
        const box = place.current;
        if (over || !box) return;
        const terminal = new Terminal({
          convertEol: false,
          cursorBlink: true,
          fontFamily: "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace",
          fontSize: 14,
          scrollback: 5000,
          screenReaderMode: true,
          minimumContrastRatio: 4.5,
          theme: theme(box),
        });
        const fit = new FitAddon();
        terminal.loadAddon(fit);
        terminal.open(box);
        fit.fit();
        const { url, protocols } = socketTo(of(machine.name, "console"));
        const socket = new WebSocket(url, protocols);
        socket.binaryType = "arraybuffer";
        const typed = new TextEncoder();
        socket.onopen = () => terminal.focus();
        socket.onmessage = ({ data }) => terminal.write(new Uint8Array(data));
        socket.onclose = ({ reason }) => {
          if (!over) setEnded(reason || "The connection has ended.");
        };
        terminal.onData((data) => {
          if (socket.readyState === WebSocket.OPEN) socket.send(typed.encode(data));
        });
        const sized = new ResizeObserver(() => fit.fit());
        sized.observe(box);
        const dyed = () => {
          terminal.options.theme = theme(box);
        };
        DARK.addEventListener("change", dyed);
        finish = () => {
          sized.disconnect();
          DARK.removeEventListener("change", dyed);
          socket.close();
          terminal.dispose();
        };
      },
    );
    return () => {
      over = true;
      finish();
    };
  }, [machine.name, machine.id, round]);
  if (machine.id === 0) return <p class="nothing">It does not run: there is nothing to talk with.</p>;
  return (
    <>
      {ended && (
        <p class="banner" role="alert">
          {ended}{" "}
          <button type="button" onClick={() => setRound(round + 1)}>Connect again</button>
        </p>
      )}
      <div class="terminal-box" ref={place} />
    </>
  );
}
