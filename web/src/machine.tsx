// One machine: what can be done with it, and what there is to see of it.

import type { ComponentType } from "preact";
import { act, type Known, of } from "./api";
import { Console } from "./console";
import { Definition } from "./definition";
import { Disks } from "./disks";
import { useDoing } from "./doing";
import { dot } from "./list";
import { Overview } from "./overview";
import { Screen } from "./screen";
import { Snapshots } from "./snapshots";
import type { Watched } from "./watching";

export interface Shown {
  machine: Known;
  watched: Watched;
}

const TABS: [string, string, ComponentType<Shown>][] = [
  ["overview", "Overview", Overview],
  ["screen", "Screen", Screen],
  ["console", "Console", Console],
  ["disks", "Disks", Disks],
  ["snapshots", "Snapshots", Snapshots],
  ["definition", "Definition", Definition],
];

export function MachineView({ machine, tab, watched }: Shown & { tab: string }) {
  const [, , Content] = TABS.find(([key]) => key === tab) ?? TABS[0]!;
  return (
    <article>
      <header class="machine">
        <a href="#/" class="back" aria-label="All machines">‹</a>
        <h1>{machine.name}</h1>
        <span class="state">
          <span class={dot(machine.state)} /> {machine.state}
          {!machine.persistent && " · transient"}
        </span>
        <Actions machine={machine} />
      </header>
      <Tabs name={machine.name} shown={tab} />
      <section class={`tab ${tab}`} role="tabpanel" aria-label={tab}>
        <Content machine={machine} watched={watched} />
      </section>
    </article>
  );
}

function Tabs({ name, shown }: { name: string; shown: string }) {
  const to = (key: string) => `#/${encodeURIComponent(name)}/${key}`;
  const moved = (event: KeyboardEvent) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const at = TABS.findIndex(([key]) => key === shown);
    const [next] = TABS[(at + step + TABS.length) % TABS.length]!;
    location.hash = to(next);
    document.getElementById(`tab-${next}`)?.focus();
    event.preventDefault();
  };
  return (
    <div class="tabs" role="tablist" onKeyDown={moved}>
      {TABS.map(([key, title]) => (
        <a
          key={key}
          id={`tab-${key}`}
          role="tab"
          href={to(key)}
          aria-selected={key === shown}
          tabIndex={key === shown ? 0 : -1}
        >
          {title}
        </a>
      ))}
    </div>
  );
}

function Actions({ machine }: { machine: Known }) {
  const { busy, run, ask } = useDoing();
  const { name, state } = machine;
  const done = (title: string, verb: string, values = {}) =>
    run(`${title}: ${name}`, () => act(of(name, verb), values));
  const button = (title: string, verb: string, kind = "") => (
    <button type="button" class={kind} disabled={busy !== ""} onClick={() => done(title, verb)}>
      {title}
    </button>
  );
  const risky = (title: string, verb: string, text: string) => (
    <button
      type="button"
      class="danger"
      disabled={busy !== ""}
      onClick={() =>
        ask({ title: `${title}: ${name}?`, text, yes: title, act: () => void done(title, verb) })
      }
    >
      {title}
    </button>
  );
  const runs = machine.id !== 0;
  return (
    <div class="actions" role="group" aria-label="Actions">
      {!runs && button("Start", "start", "primary")}
      {state === "running" && button("Pause", "suspend")}
      {state === "paused" && button("Resume", "resume", "primary")}
      {runs && button("Shut down", "shutdown")}
      {runs && button("Reboot", "reboot")}
      {runs && risky("Reset", "reset", "The guest starts again at once. What it has not written is lost.")}
      {runs && risky("Force off", "destroy", "As if the power were cut: what the guest has not written is lost.")}
      {!runs && risky("Undefine", "undefine", "The definition is forgotten. Its disks stay.")}
    </div>
  );
}
