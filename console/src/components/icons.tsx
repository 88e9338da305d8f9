// The console's icons: one stroke, drawn on a grid of 20, always beside words or hidden from screen readers.
import type { Tone } from "../lib/kinds";

const PATHS = {
  pulse: "M2 10.5h3.6l2-5.5 3.6 10 2.3-4.5H18",
  list: "M7 5h10M7 10h10M7 15h10M3 5h.01M3 10h.01M3 15h.01",
  wrench: "M12.5 4.2a4.2 4.2 0 0 0-5 5.6L3 14.3 5.7 17l4.5-4.5a4.2 4.2 0 0 0 5.6-5l-2.5 2.5-2.6-.7-.7-2.6z",
  rules: "M4 4h12M4 10h7M4 16h12M14 8l2 2 3-3.5",
  bell: "M5 14V9a5 5 0 0 1 10 0v5l1.5 1.5h-13zM8.3 17.5a1.9 1.9 0 0 0 3.4 0",
  bellOff: "M6 8a4.6 4.6 0 0 1 .3-1.3M9 4.2A5 5 0 0 1 15 9v3M5 10v4l-1.5 1.5H13M8.3 17.5a1.9 1.9 0 0 0 3.4 0M3 3l14 14",
  check: "M4 10.5l4 4 8-9",
  cross: "M5 5l10 10M15 5L5 15",
  warn: "M10 3.2L18 17H2zM10 8.5v4M10 14.8h.01",
  question: "M7.2 7.4A2.9 2.9 0 1 1 10 11v1.6M10 15.5h.01",
  hourglass: "M5.5 3h9M5.5 17h9M6.5 3c0 4 7 5 7 7s-7 3-7 7M13.5 3c0 4-7 5-7 7s7 3 7 7",
  play: "M6.5 4.5l9 5.5-9 5.5z",
  pause: "M7 4.5v11M13 4.5v11",
  skip: "M5 10h10M11 6l4 4-4 4",
  eye: "M1.8 10S5 4.5 10 4.5 18.2 10 18.2 10 15 15.5 10 15.5 1.8 10 1.8 10zM10 12.4a2.4 2.4 0 1 0 0-4.8 2.4 2.4 0 0 0 0 4.8z",
  person: "M10 9.6a3.1 3.1 0 1 0 0-6.2 3.1 3.1 0 0 0 0 6.2zM3.8 17c.5-3.4 3-5 6.2-5s5.7 1.6 6.2 5",
  power: "M10 2.8v7M6 5.2a6.5 6.5 0 1 0 8 0",
  shield: "M10 2.5l6.5 2.3v4.7c0 4-2.7 6.7-6.5 8-3.8-1.3-6.5-4-6.5-8V4.8z",
  chevron: "M7.5 5l5 5-5 5",
  down: "M5 7.5l5 5 5-5",
  clock: "M10 17.5a7.5 7.5 0 1 0 0-15 7.5 7.5 0 0 0 0 15zM10 5.8V10l2.8 2",
  search: "M9 14.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11zM13 13l4.2 4.2",
  link: "M8.5 11.5l3-3M9 6l1.8-1.8a3.5 3.5 0 0 1 5 5L14 11M11 14l-1.8 1.8a3.5 3.5 0 0 1-5-5L6 9",
  sun: "M10 13.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM10 1.5v2M10 16.5v2M1.5 10h2M16.5 10h2M4 4l1.4 1.4M14.6 14.6L16 16M16 4l-1.4 1.4M5.4 14.6L4 16",
  moon: "M16.8 12.2A7.2 7.2 0 0 1 7.8 3.2a7.2 7.2 0 1 0 9 9z",
  auto: "M10 17.5a7.5 7.5 0 1 0 0-15 7.5 7.5 0 0 0 0 15zM10 2.5v15M10 6.5l5.5-1M10 10h7.3M10 13.5l5.5 1",
  signout: "M8 3.5H4v13h4M12 6.5l3.5 3.5-3.5 3.5M15 10H8",
  keyboard: "M2.5 5.5h15v9h-15zM5.5 8.5h.01M8.5 8.5h.01M11.5 8.5h.01M14.5 8.5h.01M6.5 11.5h7",
  up: "M10 16V4.5M5.5 9L10 4.5 14.5 9",
  broken: "M3 3l14 14M7 6.5a6 6 0 0 0-3.5 2M13 6a9 9 0 0 1 4 2.5M6.5 12a5 5 0 0 1 3-1.5M10 15.5h.01",
  flask: "M8 3h4M8.5 3v5L4 16a1 1 0 0 0 1 1.2h10a1 1 0 0 0 1-1.2L11.5 8V3M6.5 12.5h7",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 18 }: { name: IconName; size?: number }) {
  return (
    <svg class="icon" width={size} height={size} viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}

/** Each tone has a shape of its own: colour is never the only signal. */
export const TONE_ICON: Record<Tone, IconName> = {
  ok: "check",
  busy: "play",
  wait: "hourglass",
  bad: "cross",
  unknown: "question",
  dry: "eye",
  quiet: "skip",
  people: "person",
};

export function Mark() {
  return (
    <svg class="mark" width="28" height="28" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect width="32" height="32" rx="9" class="mark-ground" />
      <path d="M6 17h5l3-8 4 14 3-6h5" class="mark-line" />
    </svg>
  );
}
