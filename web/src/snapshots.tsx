// The states that the disks of a machine keep.

import { useState } from "preact/hooks";
import { act, of } from "./api";
import { useDoing } from "./doing";
import { useFetched } from "./fetched";
import type { Shown } from "./machine";

interface Kept {
  name: string;
  made: string;
}

export function Snapshots({ machine }: Shown) {
  const kept = useFetched<Kept[]>(of(machine.name, "snapshot-list"), machine.state);
  const { busy, run, ask } = useDoing();
  const [name, setName] = useState("");
  const done = async (what: string, verb: string, values: object) => {
    const well = await run(what, () => act(of(machine.name, verb), { ...values }));
    kept.again();
    return well;
  };
  const risky = (what: string, verb: string, snapshotname: string, text: string) =>
    ask({
      title: `${what} “${snapshotname}”?`,
      text,
      yes: what,
      act: () => void done(what, verb, { snapshotname }),
    });
  if (machine.id === 0) {
    return <p class="nothing">Start the machine to see and make snapshots: its disks keep them.</p>;
  }
  return (
    <>
      <form
        class="inline"
        onSubmit={async (event) => {
          event.preventDefault();
          if (await done("Create a snapshot", "snapshot-create-as", { name })) setName("");
        }}
      >
        <input
          aria-label="Name of a new snapshot"
          placeholder="Name"
          required
          value={name}
          onInput={(event) => setName(event.currentTarget.value)}
        />
        <button class="primary" disabled={busy !== ""}>Create</button>
      </form>
      {kept.problem && <p class="nothing">{kept.problem.title}</p>}
      {kept.value?.length === 0 && <p class="nothing">There is no snapshot yet.</p>}
      <ul class="cards">
        {kept.value?.map((each) => (
          <li key={each.name}>
            <strong>{each.name}</strong>
            <span class="label">{each.made}</span>
            <span class="buttons">
              <button
                type="button"
                disabled={busy !== ""}
                onClick={() =>
                  risky("Revert", "snapshot-revert", each.name, "The machine and its disks go back to that state. What came after it is lost.")
                }
              >
                Revert
              </button>
              <button
                type="button"
                class="danger"
                disabled={busy !== ""}
                onClick={() => risky("Delete", "snapshot-delete", each.name, "It cannot be brought back.")}
              >
                Delete
              </button>
            </span>
          </li>
        ))}
      </ul>
    </>
  );
}
