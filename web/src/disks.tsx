// The drives of a machine, and what is in them.

import { useState } from "preact/hooks";
import { act, of } from "./api";
import { useDoing } from "./doing";
import { useFetched } from "./fetched";
import type { Shown } from "./machine";

interface Drive {
  target: string;
  source: string;
  type: string;
  device: string;
}

export function Disks({ machine }: Shown) {
  const drives = useFetched<Drive[]>(of(machine.name, "domblklist"), machine.state);
  const { run } = useDoing();
  const change = async (target: string, values: object) => {
    const done = { path: target, ...values };
    await run(`Medium of ${target}`, () => act(of(machine.name, "change-media"), done));
    drives.again();
  };
  if (drives.problem) return <p class="nothing">{drives.problem.title}</p>;
  if (!drives.value) return null;
  if (!drives.value.length) return <p class="nothing">It has no disks.</p>;
  return (
    <ul class="cards">
      {drives.value.map((drive) => (
        <li key={drive.target}>
          <strong>{drive.target}</strong>
          <span class="label">{drive.device}</span>
          <code>{drive.source || "empty"}</code>
          {drive.device === "cdrom" && machine.id !== 0 && (
            <Medium
              full={drive.source !== ""}
              insert={(source) => change(drive.target, { source })}
              eject={() => change(drive.target, { eject: true })}
            />
          )}
        </li>
      ))}
    </ul>
  );
}

function Medium(props: { full: boolean; insert: (path: string) => void; eject: () => void }) {
  const [path, setPath] = useState("");
  return (
    <form
      class="inline"
      onSubmit={(event) => {
        event.preventDefault();
        props.insert(path);
        setPath("");
      }}
    >
      <input
        aria-label="Path of an image on the host"
        placeholder="/path/of/image.iso"
        required
        value={path}
        onInput={(event) => setPath(event.currentTarget.value)}
      />
      <button>Insert</button>
      {props.full && <button type="button" onClick={props.eject}>Eject</button>}
    </form>
  );
}
