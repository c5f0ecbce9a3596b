// What a machine is, and what it does just now.

import { useEffect, useState } from "preact/hooks";
import { look, of } from "./api";
import { Graph } from "./graph";
import type { Shown } from "./machine";
import { Slow } from "./slow";
import { bytes, percent, rate } from "./units";

interface Facts {
  uuid: string;
  cpus: number;
  max_memory: number;
  used_memory: number;
  cpu_time: number;
}

const QUIET_RATE = 64 * 1024;

export function Overview({ machine, watched }: Shown) {
  const [facts, setFacts] = useState<Facts | null>(null);
  useEffect(() => {
    look<Facts>(of(machine.name, "dominfo")).then(setFacts, () => setFacts(null));
  }, [machine.name, machine.state]);
  const samples = watched.samples.get(machine.name);
  const figures = watched.figures.get(machine.name);
  const series = (what: keyof NonNullable<typeof samples>[number]) =>
    samples?.map((sample) => sample[what]) ?? [];
  const whole = Number(figures?.["balloon.maximum"] ?? 0) * 1024;
  return (
    <>
      {samples && (
        <div class="graphs">
          <Graph title="CPU" lines={[{ name: "CPU", values: series("cpu") }]} show={percent} top={100} />
          <Graph
            title="Memory"
            lines={[{ name: "of the host", values: series("memory") }]}
            show={bytes}
            least={whole}
          />
          <Graph
            title="Disks"
            lines={[
              { name: "read", values: series("read") },
              { name: "written", values: series("written") },
            ]}
            show={rate}
            least={QUIET_RATE}
          />
          <Graph
            title="Network"
            lines={[
              { name: "in", values: series("received") },
              { name: "out", values: series("sent") },
            ]}
            show={rate}
            least={QUIET_RATE}
          />
        </div>
      )}
      {facts && (
        <dl class="facts">
          <dt>State</dt>
          <dd>{machine.state} ({machine.reason})</dd>
          <dt>CPUs</dt>
          <dd>{facts.cpus}</dd>
          <dt>Memory</dt>
          <dd>
            {bytes(facts.max_memory * 1024)}
            {facts.used_memory !== facts.max_memory && `, ${bytes(facts.used_memory * 1024)} given`}
          </dd>
          {machine.id !== 0 && (
            <>
              <dt>CPU time</dt>
              <dd>{(Number(figures?.["cpu.time"] ?? 0) / 1e9 || facts.cpu_time).toFixed(1)} s</dd>
              <dt>Id</dt>
              <dd>{machine.id}</dd>
            </>
          )}
          <dt>UUID</dt>
          <dd><code>{facts.uuid}</code></dd>
        </dl>
      )}
      {machine.id !== 0 && <Slow name={machine.name} />}
    </>
  );
}
