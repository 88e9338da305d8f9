// Many wishes to refresh become few requests: the first at once, then at most one in each interval, the last never lost.

/** Calls `run` on `ask()`: at once if the interval has passed, otherwise when it ends. Never two at a time. */
export class Coalescer {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private running = false;
  private again = false;
  private last = -Infinity;

  constructor(
    private readonly run: () => Promise<unknown>,
    private readonly interval: number,
    private readonly now: () => number = () => performance.now(),
  ) {}

  ask(): void {
    if (this.running) {
      this.again = true;
      return;
    }
    if (this.timer !== undefined) return;
    const wait = this.last + this.interval - this.now();
    if (wait <= 0) void this.go();
    else this.timer = setTimeout(() => void this.go(), wait);
  }

  stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.again = false;
  }

  private async go(): Promise<void> {
    this.timer = undefined;
    this.running = true;
    this.last = this.now();
    try {
      await this.run();
    } finally {
      this.running = false;
      if (this.again) {
        this.again = false;
        this.ask();
      }
    }
  }
}
