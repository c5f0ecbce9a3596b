// The page as a whole: who is let in, which machine is shown, what is being done.

import { useEffect, useState } from "preact/hooks";
import { keepToken, Problem, takeToken } from "./api";
import { Create } from "./create";
import { Confirm, type Message, type Question, Toast } from "./dialog";
import { type Doing, DoingContext } from "./doing";
import { MachineList } from "./list";
import { MachineView } from "./machine";
import { useWatched } from "./watching";

/** The machine and the tab that the address names: `#/crab/console`. */
function usePlace(): [string, string] {
  const read = () => location.hash.split("/").slice(1).map(decodeURIComponent);
  const [place, setPlace] = useState(read);
  useEffect(() => {
    const moved = () => {
      takeToken();
      setPlace(read());
    };
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  return [place[0] ?? "", place[1] ?? "overview"];
}

export function App() {
  const watched = useWatched();
  const [name, tab] = usePlace();
  const [busy, setBusy] = useState("");
  const [question, ask] = useState<Question | null>(null);
  const [message, say] = useState<Message | null>(null);
  const [creating, setCreating] = useState(false);

  const run: Doing["run"] = async (what, act) => {
    setBusy(what);
    try {
      await act();
      return true;
    } catch (error) {
      const problem = error instanceof Problem ? error : new Problem(0, String(error));
      say({ text: problem.title, detail: problem.detail, bad: true });
      return false;
    } finally {
      setBusy("");
      watched.again();
    }
  };

  const shown = watched.machines?.find((each) => each.name === name);
  useEffect(() => {
    document.title = shown ? `${shown.name} · Bimetal` : "Bimetal";
  }, [shown?.name]);

  if (watched.problem?.status === 401) return <Login again={watched.again} />;
  return (
    <DoingContext.Provider value={{ busy, run, ask, say }}>
      <div class={name ? "page with-machine" : "page"}>
        <MachineList watched={watched} shown={name} create={() => setCreating(true)} />
        <main>
          {watched.problem && (
            <p class="banner" role="alert">
              <strong>{watched.problem.title}</strong> {watched.problem.detail}
            </p>
          )}
          {shown ? (
            <MachineView key={name} machine={shown} tab={tab} watched={watched} />
          ) : (
            watched.machines && <Nothing name={name} count={watched.machines.length} />
          )}
        </main>
      </div>
      {creating && <Create close={() => setCreating(false)} />}
      {question && <Confirm asked={question} close={() => ask(null)} />}
      {message && <Toast said={message} close={() => say(null)} />}
    </DoingContext.Provider>
  );
}

function Nothing({ name, count }: { name: string; count: number }) {
  if (name) return <p class="nothing">There is no machine called “{name}”.</p>;
  return (
    <p class="nothing">{count ? "Choose a machine." : "There is no machine yet: make one by the button with a plus."}</p>
  );
}

function Login({ again }: { again: () => void }) {
  const [token, setToken] = useState("");
  return (
    <form
      class="login"
      onSubmit={(event) => {
        event.preventDefault();
        keepToken(token.replace(/^.*#token=/, "").trim());
        again();
      }}
    >
      <Brand />
      <p>
        Open the link that <code>bimetal web</code> printed, or paste it here.
      </p>
      <label>
        Link or token
        <input
          type="password"
          autocomplete="off"
          autofocus
          required
          value={token}
          onInput={(event) => setToken(event.currentTarget.value)}
        />
      </label>
      <button class="primary">Go on</button>
    </form>
  );
}

export function Brand() {
  return (
    <span class="brand">
      <svg viewBox="0 0 32 32" aria-hidden="true">
        <path class="copper" d="M4 6h11v20H4z" />
        <path class="steel" d="M17 6h11v20H17z" />
      </svg>
      Bimetal
    </span>
  );
}
