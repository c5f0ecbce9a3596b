// The definition of a machine, as libvirt's XML, to be read and changed.

import { useEffect, useState } from "preact/hooks";
import { act, of } from "./api";
import { useDoing } from "./doing";
import { useFetched } from "./fetched";
import type { Shown } from "./machine";

export function Definition({ machine }: Shown) {
  const written = useFetched<string>(of(machine.name, "dumpxml"), machine.state, { inactive: "true" });
  const { busy, run, say } = useDoing();
  const [text, setText] = useState("");
  useEffect(() => setText(written.value ?? ""), [written.value]);
  if (written.problem) return <p class="nothing">{written.problem.title}</p>;
  const changed = text !== (written.value ?? "");
  const save = async () => {
    if (await run("Define", () => act("define", { file: text }))) {
      written.again();
      say({ text: machine.id ? "Saved: it counts from the next start on." : "Saved." });
    }
  };
  return (
    <div class="editor">
      <textarea
        aria-label="Definition"
        spellcheck={false}
        readOnly={!machine.persistent}
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
      />
      <footer>
        <button type="button" disabled={!changed} onClick={() => setText(written.value ?? "")}>
          Discard
        </button>
        <button type="button" class="primary" disabled={!changed || busy !== ""} onClick={save}>
          Save
        </button>
      </footer>
    </div>
  );
}
