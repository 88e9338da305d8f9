// A value that components can watch: the smallest store that does, with a hook that renders only on a changed selection.
import { useEffect, useReducer, useRef } from "preact/hooks";

export interface Store<T> {
  get(): T;
  set(next: T | ((before: T) => T)): void;
  subscribe(listener: () => void): () => void;
}

export function createStore<T>(initial: T): Store<T> {
  let value = initial;
  const listeners = new Set<() => void>();
  return {
    get: () => value,
    set(next) {
      const given = typeof next === "function" ? (next as (before: T) => T)(value) : next;
      if (Object.is(given, value)) return;
      value = given;
      for (const listener of [...listeners]) listener();
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/** The selected part of a store; renders again only when that part is another one. */
export function useStore<T, S = T>(store: Store<T>, select: (value: T) => S = same as (value: T) => S): S {
  const [, render] = useReducer((count: number) => count + 1, 0);
  const selected = select(store.get());
  const shown = useRef(selected);
  const selecting = useRef(select);
  shown.current = selected;
  selecting.current = select;
  useEffect(() => {
    const check = () => {
      if (!Object.is(selecting.current(store.get()), shown.current)) render(undefined as never);
    };
    check();
    return store.subscribe(check);
  }, [store]);
  return selected;
}

function same(value: unknown): unknown {
  return value;
}
