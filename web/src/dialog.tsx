// Windows that want an answer first, and messages that go by themselves.

import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

/** A window above the page, closed by Escape too. */
export function Dialog(props: { title: string; close: () => void; children: ComponentChildren }) {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => element.current?.showModal(), []);
  // It goes with what is drawn, not before: another one may be asked for at once.
  const cancelled = (event: Event) => {
    event.preventDefault();
    props.close();
  };
  return (
    <dialog
      ref={element}
      onCancel={cancelled}
      onClose={props.close}
      aria-labelledby="dialog-title"
    >
      <header>
        <h2 id="dialog-title">{props.title}</h2>
        <button type="button" class="quiet" aria-label="Close" onClick={props.close}>✕</button>
      </header>
      {props.children}
    </dialog>
  );
}

export interface Question {
  title: string;
  text: string;
  yes: string;
  act: () => void;
}

/** Whether somebody means it. */
export function Confirm({ asked, close }: { asked: Question; close: () => void }) {
  return (
    <Dialog title={asked.title} close={close}>
      <p>{asked.text}</p>
      <footer>
        <button type="button" onClick={close}>Cancel</button>
        <button
          type="button"
          class="danger"
          onClick={() => {
            close();
            asked.act();
          }}
        >
          {asked.yes}
        </button>
      </footer>
    </Dialog>
  );
}

export interface Message {
  text: string;
  detail?: string;
  bad?: boolean;
}

const SECONDS = 8;

/** A message in the corner. */
export function Toast({ said, close }: { said: Message; close: () => void }) {
  useEffect(() => {
    const timer = window.setTimeout(close, SECONDS * 1000);
    return () => window.clearTimeout(timer);
  }, [said]);
  return (
    <div class={said.bad ? "toast bad" : "toast"} role={said.bad ? "alert" : "status"}>
      <div>
        <strong>{said.text}</strong>
        {said.detail && <p>{said.detail}</p>}
      </div>
      <button type="button" class="quiet" aria-label="Dismiss" onClick={close}>✕</button>
    </div>
  );
}
