// Figures as people read them.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** Bytes, with two or three digits. */
export function bytes(value: number): string {
  let at = 0;
  while (value >= 1000 && at < UNITS.length - 1) {
    value /= 1024;
    at += 1;
  }
  const digits = at === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${UNITS[at]}`;
}

export function rate(value: number): string {
  return `${bytes(value)}/s`;
}

export function percent(value: number): string {
  return `${value.toFixed(0)} %`;
}
