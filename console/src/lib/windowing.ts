// Which rows of a long list are to be drawn: equal rows, and a few open ones with a height of their own.

export interface Window {
  first: number;
  /** One past the last row. */
  end: number;
}

export class Heights {
  /** Extra pixels of single rows by index, ascending. */
  private extras: (readonly [index: number, extra: number])[] = [];

  constructor(
    readonly count: number,
    readonly row: number,
    open: Iterable<readonly [index: number, extra: number]> = [],
  ) {
    this.extras = [...open].filter(([index]) => index >= 0 && index < count).sort((a, b) => a[0] - b[0]);
  }

  get total(): number {
    return this.top(this.count);
  }

  /** Pixels above row `index`. */
  top(index: number): number {
    let pixels = index * this.row;
    for (const [at, extra] of this.extras) {
      if (at >= index) break;
      pixels += extra;
    }
    return pixels;
  }

  /** The row at a pixel from the top; 0 above the list, the last one below it. */
  at(pixel: number): number {
    let low = 0;
    let high = Math.max(0, this.count - 1);
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.top(middle) <= pixel) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** The rows that a viewport of `height` pixels shows at `scroll`, with `spare` rows around it. */
  window(scroll: number, height: number, spare = 8): Window {
    if (this.count === 0) return { first: 0, end: 0 };
    const first = Math.max(0, this.at(scroll) - spare);
    const end = Math.min(this.count, this.at(scroll + height) + 1 + spare);
    return { first, end: Math.max(first, end) };
  }
}
