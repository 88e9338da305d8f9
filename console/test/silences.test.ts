// Silences of others are counted where they are in force.
import { expect, it } from "vitest";
import { othersSilences } from "../src/lib/silences";

it("counts active silences that are not ours", () => {
  const row = (ours: boolean, state: string) => ({ ours, state });
  expect(othersSilences([row(true, "active"), row(false, "expired")])).toBe("No other silence is active in Alertmanager.");
  expect(othersSilences([row(false, "active")])).toBe("1 active silence in Alertmanager is not ours.");
  expect(othersSilences([row(false, "active"), row(false, "active")])).toBe("2 active silences in Alertmanager are not ours.");
});
