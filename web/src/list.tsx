// All machines, each with its state and what its CPUs do.

import { Brand } from "./app";
import { Spark } from "./graph";
import { percent } from "./units";
import type { Watched } from "./watching";

export function dot(state: string): string {
  return `dot ${state.replace(" ", "-")}`;
}

export function MachineList(props: { watched: Watched; shown: string; create: () => void }) {
  const { machines, samples } = props.watched;
  return (
    <aside>
      <header>
        <a href="#/" class="home"><Brand /></a>
        <button type="button" class="quiet" aria-label="New machine" title="New machine" onClick={props.create}>
          <svg viewBox="0 0 16 16" aria-hidden="true"><path d="M8 2v12M2 8h12" /></svg>
        </button>
      </header>
      <nav aria-label="Machines">
        {machines?.map(({ name, state }) => {
          const cpu = samples.get(name)?.map((sample) => sample.cpu) ?? [];
          return (
            <a
              key={name}
              href={`#/${encodeURIComponent(name)}`}
              aria-current={name === props.shown ? "page" : undefined}
            >
              <span class={dot(state)} />
              <span class="words">
                <span class="name">{name}</span>
                <small>{cpu.length ? `${state}, ${percent(cpu.at(-1)!)}` : state}</small>
              </span>
              {cpu.length > 1 && <Spark values={cpu} top={100} />}
            </a>
          );
        })}
      </nav>
    </aside>
  );
}
