// Something that is looked at once, and again when asked.

import { useEffect, useState } from "preact/hooks";
import { look, Problem } from "./api";

export interface Fetched<T> {
  value: T | null;
  problem: Problem | null;
  again: () => void;
}

/** What `path` tells; anew whenever it or `when` changes. */
export function useFetched<T>(
  path: string,
  when: unknown,
  query: Record<string, string> = {},
): Fetched<T> {
  const [value, setValue] = useState<T | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [round, setRound] = useState(0);
  useEffect(() => {
    let over = false;
    look<T>(path, query).then(
      (found) => {
        if (over) return;
        setValue(found);
        setProblem(null);
      },
      (error) => {
        if (!over) setProblem(error instanceof Problem ? error : new Problem(0, String(error)));
      },
    );
    return () => {
      over = true;
    };
  }, [path, when, round]);
  return { value, problem, again: () => setRound((count) => count + 1) };
}
