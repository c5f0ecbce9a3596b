// Talks to the server this page comes from. Who asks proves it by the token, which the link that
// `bimetal web` prints has behind its `#`.

const KEY = "bimetal-token";

export interface Known {
  name: string;
  id: number;
  state: string;
  persistent: boolean;
  reason: string;
}

export interface Figures {
  name: string;
  values: Record<string, number | string>;
}

/** What went wrong, and what to do about it (RFC 9457). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail = "",
  ) {
    super(detail ? `${title} (${detail})` : title);
  }
}

/** Keep the token of the link that was followed, and take it out of the address. */
export function takeToken(): void {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    localStorage.setItem(KEY, given);
    history.replaceState(null, "", location.pathname);
  }
}

export function keepToken(token: string): void {
  localStorage.setItem(KEY, token);
}

function token(): string {
  return localStorage.getItem(KEY) ?? "";
}

async function ask<T>(path: string, options: RequestInit): Promise<T> {
  let answer: Response;
  const headers = { ...options.headers, Authorization: `Bearer ${token()}` };
  try {
    answer = await fetch(`api/${path}`, { ...options, headers });
  } catch {
    throw new Problem(0, "The server does not answer", "see whether bimetal web still runs");
  }
  const content = await answer.json().catch(() => ({}));
  if (answer.ok) return content as T;
  throw new Problem(answer.status, content.title ?? answer.statusText, content.detail);
}

/** What a verb tells that only looks. */
export function look<T>(path: string, query: Record<string, string> = {}): Promise<T> {
  return ask<T>(`${path}?${new URLSearchParams(query)}`, {});
}

/** Have a verb carried out. */
export function act<T>(path: string, values: Record<string, unknown> = {}): Promise<T> {
  return ask<T>(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(values),
  });
}

/** The path of something about a machine. */
export function of(name: string, what: string): string {
  return `machines/${encodeURIComponent(name)}/${what}`;
}

/** Where a WebSocket leads, and the subprotocols that prove who asks. */
export function socketTo(path: string): { url: string; protocols: string[] } {
  const url = new URL(`api/${path}`, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  return { url: url.href.split("#")[0]!, protocols: ["bimetal", `token.${token()}`] };
}
