// A new machine: installed in virt-install's words, or by a definition that somebody has.

import { useState } from "preact/hooks";
import { act } from "./api";
import { Dialog } from "./dialog";
import { useDoing } from "./doing";
import { useFetched } from "./fetched";

interface Board {
  name: string;
  isa: string;
  summary: string;
  cpus: number;
}

interface Defined {
  name: string;
  notes: string[];
}

const SHOWN = {
  form: "Install",
  text: "XML or JSON",
};

/** A new machine: who has made one closes this, and sees it. */
export function Create({ close }: { close: () => void }) {
  const [way, setWay] = useState<keyof typeof SHOWN>("form");
  const shown = (name: string) => {
    location.hash = `#/${encodeURIComponent(name)}`;
    close();
  };
  return (
    <Dialog title="New machine" close={close}>
      <div class="choice" role="group" aria-label="How">
        {Object.entries(SHOWN).map(([key, title]) => (
          <button
            type="button"
            key={key}
            aria-pressed={key === way}
            onClick={() => setWay(key as keyof typeof SHOWN)}
          >
            {title}
          </button>
        ))}
      </div>
      {way === "form" ? <Install made={shown} /> : <Text made={shown} />}
    </Dialog>
  );
}

/** What a machine can be started from. */
const STARTS = {
  cdrom: "An installer's image",
  location: "An installer's folder or address",
  disk: "A disk that is there",
  kernel: "A kernel",
};

/** Words behind commas, as virt-install has them: a comma in one is written twice. */
function words(given: Record<string, string>): string {
  return Object.entries(given)
    .filter(([, value]) => value)
    .map(([name, value]) => `${name}=${value.replaceAll(",", ",,")}`)
    .join(",");
}

function Install({ made }: { made: (name: string) => void }) {
  const boards = useFetched<Board[]>("boards", null);
  const { busy, run } = useDoing();
  const [start, setStart] = useState<keyof typeof STARTS>("cdrom");
  const installs = start === "cdrom" || start === "location";
  const submitted = async (event: SubmitEvent) => {
    event.preventDefault();
    const given = new FormData(event.target as HTMLFormElement);
    const text = (name: string) => String(given.get(name) ?? "").trim();
    const disks = [];
    if (text("disk")) disks.push(words({ path: text("disk") }));
    if (text("size")) disks.push(words({ size: text("size") }));
    const values = {
      name: text("name"),
      arch: text("arch"),
      memory: Number(text("memory")),
      vcpus: Number(text("cpus")),
      cdrom: text("cdrom"),
      location: text("location"),
      "extra-args": text("extra"),
      import: start === "disk",
      boot: words({ kernel: text("kernel"), initrd: text("initrd"), cmdline: text("cmdline") }),
      disk: disks.length ? disks : ["none"],
      network: [given.has("network") ? "user" : "none"],
      graphics: given.has("screen") ? "vnc" : "none",
    };
    if (await run("Install", () => act("install", values))) made(values.name);
  };
  return (
    <form onSubmit={submitted}>
      <div class="fields">
        <label>Name <input name="name" required autofocus maxLength={100} /></label>
        <label>
          Processor
          <select name="arch" aria-busy={!boards.value}>
            {start === "cdrom" && <option value="">that of the image</option>}
            {boards.value?.map(({ isa, name }) => <option key={name} value={isa}>{isa}</option>)}
          </select>
        </label>
        <label>Memory in MiB <input name="memory" type="number" required min={1} value={1024} /></label>
        <label>CPUs <input name="cpus" type="number" required min={1} max={512} value={1} /></label>
        <label class="wide">
          Start from
          <select
            name="start"
            value={start}
            onChange={(event) => setStart(event.currentTarget.value as keyof typeof STARTS)}
          >
            {Object.entries(STARTS).map(([key, title]) => (
              <option key={key} value={key}>{title}</option>
            ))}
          </select>
        </label>
        {start === "cdrom" && (
          <label class="wide">Image <input name="cdrom" required placeholder="/path/of/installer.iso" /></label>
        )}
        {start === "location" && (
          <>
            <label class="wide">
              Installer
              <input name="location" required placeholder="/path/of/installer or https://server/of/installer" />
            </label>
            <label class="wide">More words for its kernel <input name="extra" placeholder="console=ttyS0" /></label>
          </>
        )}
        {start === "disk" && (
          <label class="wide">Disk <input name="disk" required placeholder="/path/of/disk.qcow2" /></label>
        )}
        {start === "kernel" && (
          <>
            <label class="wide">Kernel <input name="kernel" required placeholder="/path/of/Image" /></label>
            <label class="wide">Initial file system <input name="initrd" placeholder="/path/of/initrd" /></label>
            <label class="wide">Command line <input name="cmdline" placeholder="console=ttyS0" /></label>
          </>
        )}
        {start !== "disk" && (
          <label class="wide">
            New disk in GiB
            <input
              name="size"
              type="number"
              min={0.001}
              step="any"
              required={installs}
              defaultValue={installs ? "20" : ""}
              placeholder="none"
            />
          </label>
        )}
        <label class="check"><input name="network" type="checkbox" defaultChecked /> Network</label>
        <label class="check"><input name="screen" type="checkbox" defaultChecked /> Screen and keyboard</label>
      </div>
      <footer>
        <button class="primary" disabled={busy !== ""}>{busy || "Create and start"}</button>
      </footer>
    </form>
  );
}

function Text({ made }: { made: (name: string) => void }) {
  const { busy, run, say } = useDoing();
  const [text, setText] = useState("");
  const define = async () => {
    const { name, notes } = await act<Defined>("define", { file: text });
    if (notes.length) say({ text: "Without effect here:", detail: notes.join("; ") });
    made(name);
  };
  return (
    <form
      class="editor"
      onSubmit={(event) => {
        event.preventDefault();
        void run("Define", define);
      }}
    >
      <textarea
        aria-label="Definition"
        placeholder="<domain type='qemu'> … </domain>"
        spellcheck={false}
        required
        autofocus
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
      />
      <footer>
        <button class="primary" disabled={busy !== ""}>Define</button>
      </footer>
    </form>
  );
}
