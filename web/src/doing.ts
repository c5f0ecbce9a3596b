// What is done about machines: one thing at a time, with a word when it has gone wrong.

import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { Message, Question } from "./dialog";

export interface Doing {
  /** What is being done, "" for nothing. */
  busy: string;
  /** Do something that has a name, and look again; whether it went well. */
  run: (what: string, act: () => Promise<unknown>) => Promise<boolean>;
  ask: (question: Question) => void;
  say: (message: Message) => void;
}

export const DoingContext = createContext<Doing>({
  busy: "",
  run: async () => false,
  ask: () => {},
  say: () => {},
});

export function useDoing(): Doing {
  return useContext(DoingContext);
}
