// The screen of a machine, as its VNC server shows it.

import type RFB from "@novnc/novnc";
import { useEffect, useRef, useState } from "preact/hooks";
import { of, socketTo } from "./api";
import { Dialog } from "./dialog";
import type { Shown } from "./machine";

/** Keys that browsers keep to themselves, by their X keysyms. */
const KEYS: [string, [number, string][]][] = [
  ["Esc", [[0xff1b, "Escape"]]],
  ["Tab", [[0xff09, "Tab"]]],
  ["Super", [[0xffeb, "MetaLeft"]]],
  ["Alt Tab", [[0xffe9, "AltLeft"], [0xff09, "Tab"]]],
  ["Alt F4", [[0xffe9, "AltLeft"], [0xffc1, "F4"]]],
  ["Ctrl Alt F1", [[0xffe3, "ControlLeft"], [0xffe9, "AltLeft"], [0xffbe, "F1"]]],
  ["Ctrl Alt F2", [[0xffe3, "ControlLeft"], [0xffe9, "AltLeft"], [0xffbf, "F2"]]],
];

/** Keysyms of what has no character of its own; those of others are their places in Unicode. */
const SIGNS: Record<string, number> = { "\n": 0xff0d, "\t": 0xff09 };

/** What an American keyboard has above something else. */
const SHIFTED = /[A-Z~!@#$%^&*()_+{}|:"<>?]/;

/** Milliseconds between two letters: a guest has room for so many keys at once. */
const PAUSE = 15;

function keysOf(letter: string): [number, string][] {
  const place = letter.codePointAt(0)!;
  const keysym = SIGNS[letter] ?? (place < 0x100 ? place : 0x1000000 + place);
  const key: [number, string] = [keysym, ""];
  return SHIFTED.test(letter) ? [[0xffe1, "ShiftLeft"], key] : [key];
}

export function Screen({ machine }: Shown) {
  const place = useRef<HTMLDivElement>(null);
  const screen = useRef<RFB | null>(null);
  const [state, setState] = useState("");
  const [round, setRound] = useState(0);
  const [typing, setTyping] = useState(false);
  useEffect(() => {
    if (machine.id === 0) return;
    setState("Connecting …");
    let over = false;
    void import("@novnc/novnc").then(({ default: Viewer }) => {
      if (over || !place.current) return;
      const { url, protocols } = socketTo(of(machine.name, "screen"));
      const viewer = new Viewer(place.current, url, { wsProtocols: protocols, shared: true });
      viewer.scaleViewport = true;
      viewer.background = "transparent";
      viewer.addEventListener("connect", () => {
        setState("");
        viewer.focus();
      });
      viewer.addEventListener("disconnect", () => {
        screen.current = null;
        if (!over) setState("There is no screen to see: it needs <graphics type='vnc'/> and <video/>.");
      });
      screen.current = viewer;
    });
    return () => {
      over = true;
      screen.current?.disconnect();
    };
  }, [machine.name, machine.id, round]);
  if (machine.id === 0) return <p class="nothing">It does not run: there is nothing to see.</p>;
  const press = (keys: [number, string][]) => {
    const viewer = screen.current;
    if (!viewer) return;
    for (const [key, code] of keys) viewer.sendKey(key, code, true);
    for (const [key, code] of keys.toReversed()) viewer.sendKey(key, code, false);
    viewer.focus();
  };
  const typeAll = async (text: string) => {
    for (const letter of text.replaceAll("\r", "")) {
      press(keysOf(letter));
      await new Promise((goOn) => setTimeout(goOn, PAUSE));
    }
  };
  const whole = () => void place.current?.requestFullscreen();
  return (
    <>
      <div class="tools" role="toolbar" aria-label="Keys and screen">
        <button type="button" onClick={() => screen.current?.sendCtrlAltDel()}>Ctrl Alt Del</button>
        {KEYS.map(([name, keys]) => (
          <button type="button" key={name} onClick={() => press(keys)}>{name}</button>
        ))}
        <button type="button" onClick={() => setTyping(true)}>Type a text …</button>
        <button type="button" onClick={whole}>Full screen</button>
      </div>
      {state && (
        <p class="banner" role="status">
          {state}{" "}
          <button type="button" onClick={() => setRound(round + 1)}>Connect again</button>
        </p>
      )}
      <div class="vnc" ref={place} />
      {typing && (
        <TypeText
          type={(text) => void typeAll(text)}
          close={() => setTyping(false)}
        />
      )}
    </>
  );
}

/** What somebody has in the clipboard, typed for a guest that knows of none. */
function TypeText({ type, close }: { type: (text: string) => void; close: () => void }) {
  const [text, setText] = useState("");
  return (
    <Dialog title="Type a text" close={close}>
      <form
        class="editor"
        onSubmit={(event) => {
          event.preventDefault();
          close();
          type(text);
        }}
      >
        <textarea
          aria-label="Text"
          autofocus
          required
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
        <footer>
          <button class="primary">Type it</button>
        </footer>
      </form>
    </Dialog>
  );
}
