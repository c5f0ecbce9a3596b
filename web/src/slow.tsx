// Why a machine is slow: what takes its time, as far as that can be seen from outside.

import { useState } from "preact/hooks";
import { look, of } from "./api";
import { useDoing } from "./doing";
import { percent } from "./units";

interface Reasons {
  seconds: number;
  doing: string;
  causes: { name: string; seen: string; remedy: string; share: number }[];
}

export function Slow({ name }: { name: string }) {
  const { busy, run } = useDoing();
  const [found, setFound] = useState<Reasons | null>(null);
  const ask = () =>
    run("Looking …", async () => setFound(await look<Reasons>(of(name, "explain"))));
  return (
    <section class="slow" aria-label="Why is it slow?">
      <button type="button" disabled={busy !== ""} onClick={ask}>
        {busy === "Looking …" ? busy : "Why is it slow?"}
      </button>
      {found && (
        <>
          <p role="status">
            In {found.seconds.toFixed(1)} s: {found.doing}
            {found.causes.length === 0 && " Nothing that was seen makes it slow."}
          </p>
          <ul class="cards">
            {found.causes.map((cause) => (
              <li key={cause.name}>
                <strong>{cause.name}</strong>
                {cause.share > 0 && <span class="graph-value">{percent(100 * cause.share)}</span>}
                <p>
                  {cause.seen} <span class="label">{cause.remedy}</span>
                </p>
              </li>
            ))}
          </ul>
        </>
      )}
    </section>
  );
}
