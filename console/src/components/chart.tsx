// The stacked timeline, drawn by uPlot: hover tells, a click opens the bucket's events, dragging zooms.
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { OUTCOMES } from "../lib/kinds";
import type { Stack } from "../lib/stack";
import { useStore } from "../lib/store";
import { theme } from "../prefs";

interface ChartProps {
  stack: Stack;
  since: number;
  until: number;
  step: number;
  onPick: (since: number, until: number) => void;
  onZoom: (since: number, until: number) => void;
  onHover: (bucket: number | null) => void;
}

const HEIGHT = 190;

export function Chart(props: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef(props);
  latest.current = props;
  const scheme = useStore(theme);
  const shape = props.stack.layers.map((layer) => layer.outcome).join();

  useEffect(() => {
    const element = box.current!;
    const make = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(element, latest), data(latest.current.stack), element);
    };
    make();
    const sizes = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height: HEIGHT }));
    sizes.observe(element);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", make);
    return () => {
      sizes.disconnect();
      dark.removeEventListener("change", make);
      plot.current?.destroy();
      plot.current = null;
    };
  }, [shape, scheme, props.step]);

  useEffect(() => {
    plot.current?.setData(data(props.stack));
  }, [props.stack, props.since, props.until]);

  return <div ref={box} class="chart" aria-hidden="true" data-testid="chart" />;
}

function data(stack: Stack): uPlot.AlignedData {
  return [stack.times, ...stack.layers.map((layer) => layer.sums)];
}

/** A custom property of the palette as a colour that a canvas takes. */
function color(element: Element, name: string): string {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  element.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function options(element: HTMLElement, latest: { current: ChartProps }): uPlot.Options {
  const { stack, step } = latest.current;
  const dim = color(element, "--text-dim");
  const line = color(element, "--line");
  const bars = uPlot.paths.bars!({ size: [0.86, 28, 1], align: 1, gap: 0 });
  const font = `11px ${getComputedStyle(element).fontFamily}`;
  const axis = { stroke: dim, font, ticks: { show: false }, grid: { stroke: line, width: 1 } };
  return {
    width: element.clientWidth || 400,
    height: HEIGHT,
    padding: [8, 20, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false, dist: 6 } },
    scales: {
      x: { time: true, range: () => [latest.current.since, latest.current.until] },
      y: { range: (_, __, highest) => [0, Math.max(4, Math.ceil((highest ?? 0) * 1.12))] },
    },
    axes: [
      { ...axis, grid: { show: false }, space: 56, size: 28, values: timeLabels },
      { ...axis, size: 34, space: 34, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 50_000, 100_000], values: (_, ticks) => ticks.map((n) => (n >= 10_000 ? `${n / 1000}k` : String(n))) },
    ],
    series: [
      {},
      ...stack.layers.map((layer) => ({
        fill: color(element, OUTCOMES[layer.outcome]?.color ?? "--text-dim"),
        width: 0,
        paths: bars,
        points: { show: false },
      })),
    ],
    hooks: {
      setCursor: [(u) => latest.current.onHover(u.cursor.idx ?? null)],
      setSelect: [
        (u) => {
          const { left, width } = u.select;
          if (width < 6) return;
          latest.current.onZoom(u.posToVal(left, "x"), u.posToVal(left + width, "x"));
          u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        },
      ],
      ready: [
        (u) => {
          u.over.addEventListener("click", (click) => {
            if (u.select.width > 0) return;
            const at = u.posToVal(click.offsetX, "x");
            const begin = latest.current.since + Math.floor((at - latest.current.since) / step) * step;
            latest.current.onPick(begin, begin + step);
          });
        },
      ],
    },
  };
}

function timeLabels(u: uPlot, ticks: number[]): string[] {
  const span = (u.scales.x!.max ?? 0) - (u.scales.x!.min ?? 0);
  return ticks.map((ts) => {
    const at = new Date(ts * 1000);
    const time = at.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", ...(span < 600 ? { second: "2-digit" } : {}) });
    const midnight = at.getHours() === 0 && at.getMinutes() === 0;
    return span > 2 * 86_400 || (span > 43_200 && midnight) ? at.toLocaleDateString("en-GB", { day: "numeric", month: "short" }) + (midnight ? "" : ` ${time}`) : time;
  });
}
