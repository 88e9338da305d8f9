// What was read before the stream's beginning was known may lack what happened in between: it is read once more.
import { useEffect, useRef } from "preact/hooks";
import { useStore } from "./lib/store";
import { overview } from "./live";

/** Ask again when the first overview comes: the stream begins behind it, and tells nothing from before. */
export function useOnceKnown(ask: () => void): void {
  const known = useStore(overview, (now) => now !== null);
  const knew = useRef(known);
  useEffect(() => {
    if (known && !knew.current) ask();
    knew.current = known;
  }, [known]);
}
