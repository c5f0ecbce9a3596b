// A graph of the last two minutes: one line, or two on the same scale.

const WIDTH = 120;
const HEIGHT = 40;
const SAMPLES = 60;

interface Line {
  name: string;
  values: number[];
}

function points(values: number[], top: number): string {
  const start = SAMPLES - values.length;
  return values
    .map((value, at) => {
      const x = ((start + at) / (SAMPLES - 1)) * WIDTH;
      return `${x.toFixed(1)},${(HEIGHT - (value / top) * (HEIGHT - 2)).toFixed(1)}`;
    })
    .join(" ");
}

/** A small one, without words. */
export function Spark({ values, top }: { values: number[]; top: number }) {
  return (
    <svg class="spark" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
      <polyline class="line line-0" points={points(values, top)} />
    </svg>
  );
}

export function Graph(props: {
  title: string;
  lines: Line[];
  show: (value: number) => string;
  top?: number;
  least?: number;
}) {
  const { title, lines, show } = props;
  const highest = Math.max(props.least ?? 1, ...lines.flatMap((line) => line.values));
  const top = props.top ?? highest;
  const latest = lines.map((line) => line.values.at(-1) ?? 0);
  const spoken = lines.map((line, at) => `${line.name} ${show(latest[at]!)}`).join(", ");
  return (
    <figure class="graph" role="img" aria-label={`${title}: ${spoken}`}>
      <figcaption>
        <span class="graph-title">{title}</span>
        {lines.map((line, at) => (
          <span class={`graph-value value-${at}`} key={line.name}>
            {lines.length > 1 && <small>{line.name}</small>} {show(latest[at]!)}
          </span>
        ))}
      </figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
        <path class="rules" d={`M0 ${HEIGHT / 2}H${WIDTH}M0 ${HEIGHT - 0.5}H${WIDTH}M0 .5H${WIDTH}`} />
        {lines.map(
          ({ name, values }, at) =>
            values.length > 1 && (
              <g key={name}>
                <polygon
                  class={`area area-${at}`}
                  points={`${points(values, top)} ${WIDTH},${HEIGHT} ${(((SAMPLES - values.length) / (SAMPLES - 1)) * WIDTH).toFixed(1)},${HEIGHT}`}
                />
                <polyline class={`line line-${at}`} points={points(values, top)} />
              </g>
            ),
        )}
      </svg>
      <span class="graph-top" aria-hidden="true">{show(top)}</span>
    </figure>
  );
}
