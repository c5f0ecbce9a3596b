// The machines as they are now, looked at every two seconds while somebody sees the page.

import { useEffect, useState } from "preact/hooks";
import { type Figures, type Known, look, Problem } from "./api";

const PAUSE = 2000;
const KEPT = 60;

/** What a machine did between two looks: its CPUs in percent of all that it has, rates in bytes per
 * second, memory in bytes. */
export interface Sample {
  cpu: number;
  memory: number;
  read: number;
  written: number;
  received: number;
  sent: number;
}

interface Totals {
  when: number;
  time: number;
  read: number;
  written: number;
  received: number;
  sent: number;
}

export interface Watched {
  machines: Known[] | null;
  samples: Map<string, Sample[]>;
  figures: Map<string, Figures["values"]>;
  problem: Problem | null;
  again: () => void;
}

function sum(values: Figures["values"], kind: string, what: string): number {
  let all = 0;
  for (const [name, value] of Object.entries(values)) {
    if (name.startsWith(`${kind}.`) && name.endsWith(`.${what}`)) all += Number(value);
  }
  return all;
}

class Watch {
  machines: Known[] | null = null;
  problem: Problem | null = null;
  readonly samples = new Map<string, Sample[]>();
  readonly figures = new Map<string, Figures["values"]>();
  private totals = new Map<string, Totals>();

  async look(): Promise<void> {
    try {
      const [machines, figures] = await Promise.all([
        look<Known[]>("list", { all: "true" }),
        look<Figures[]>("domstats"),
      ]);
      this.machines = machines;
      this.problem = null;
      const running = new Set(figures.map((each) => each.name));
      for (const name of [...this.samples.keys()]) {
        if (!running.has(name)) this.forget(name);
      }
      for (const each of figures) this.add(each);
    } catch (error) {
      this.problem = error instanceof Problem ? error : new Problem(0, String(error));
    }
  }

  private forget(name: string): void {
    this.samples.delete(name);
    this.figures.delete(name);
    this.totals.delete(name);
  }

  private add({ name, values }: Figures): void {
    const now: Totals = {
      when: performance.now() / 1000,
      time: Number(values["cpu.time"] ?? 0) / 1e9,
      read: sum(values, "block", "rd.bytes"),
      written: sum(values, "block", "wr.bytes"),
      received: sum(values, "net", "rx.bytes"),
      sent: sum(values, "net", "tx.bytes"),
    };
    const before = this.totals.get(name);
    this.totals.set(name, now);
    this.figures.set(name, values);
    if (!before || now.time < before.time) {
      this.samples.set(name, []);
      return;
    }
    const seconds = now.when - before.when;
    const rate = (what: "read" | "written" | "received" | "sent") =>
      Math.max(0, now[what] - before[what]) / seconds;
    const share = (now.time - before.time) / seconds / Number(values["vcpu.current"] ?? 1);
    const sample = {
      cpu: Math.min(100, 100 * share),
      memory: Number(values["balloon.rss"] ?? 0) * 1024,
      read: rate("read"),
      written: rate("written"),
      received: rate("received"),
      sent: rate("sent"),
    };
    const kept = this.samples.get(name) ?? [];
    this.samples.set(name, [...kept.slice(1 - KEPT), sample]);
  }
}

export function useWatched(): Watched {
  const [watch] = useState(() => new Watch());
  const [, redraw] = useState(0);
  const [round, setRound] = useState(0);
  useEffect(() => {
    let timer = 0;
    let over = false;
    const turn = async () => {
      if (!document.hidden) {
        await watch.look();
        if (over) return;
        redraw((count) => count + 1);
      }
      timer = window.setTimeout(turn, PAUSE);
    };
    void turn();
    return () => {
      over = true;
      window.clearTimeout(timer);
    };
  }, [round]);
  return {
    machines: watch.machines,
    samples: watch.samples,
    figures: watch.figures,
    problem: watch.problem,
    again: () => setRound((count) => count + 1),
  };
}
