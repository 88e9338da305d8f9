// Light, dark, or as the system has it.
import { useStore } from "../lib/store";
import { theme, type Theme } from "../prefs";
import { Icon, type IconName } from "./icons";

const NEXT: Record<Theme, Theme> = { auto: "light", light: "dark", dark: "auto" };
const ICON: Record<Theme, IconName> = { auto: "auto", light: "sun", dark: "moon" };
const WORDS: Record<Theme, string> = { auto: "as the system", light: "light", dark: "dark" };

export function ThemeButton() {
  const now = useStore(theme);
  return (
    <button type="button" class="btn icon-only ghost" onClick={() => theme.set(NEXT[now])} aria-label={`Colours: ${WORDS[now]}. Change to ${WORDS[NEXT[now]]}`} title={`Colours: ${WORDS[now]}`} data-testid="theme" data-theme-now={now}>
      <Icon name={ICON[now]} />
    </button>
  );
}
