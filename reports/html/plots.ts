/**
 * Plots as SVG text, drawn by ECharts without a browser. Colours are the page's CSS variables, so that one SVG serves light, dark and paper.
 */

import * as echarts from 'echarts';

export interface Series {
  name: string;
  points: [number, number][];
}

export interface Axes {
  x: string;
  y: string;
  /** Axis from 0 to 100 %. */
  yShare?: boolean;
  xLog?: boolean;
}

export const seriesColours = ['var(--s1)', 'var(--s2)', 'var(--s3)', 'var(--s4)', 'var(--s5)', 'var(--s6)', 'var(--s7)', 'var(--s8)'];

const width = 860;

/** Dots: one series per scenario. */
export function scatterPlot(series: readonly Series[], axes: Axes): string {
  return draw(360, {
    ...frame(series, axes),
    series: series.map(({ name, points }) => ({ name, type: 'scatter', symbolSize: 7, itemStyle: { opacity: 0.7 }, silent: true, data: points })),
  });
}

/** For each value the share of runs that were at or below it: one stepped line per scenario. */
export function sharePlot(series: readonly Series[], axes: Axes): string {
  return draw(320, {
    ...frame(series, { ...axes, yShare: true }),
    series: series.map(({ name, points }) => ({ name, type: 'line', step: 'end', showSymbol: points.length < 2, lineStyle: { width: 2 }, silent: true, data: points })),
  });
}

/** One line through measured points; `marked`: a stretch of the x axis to look at. */
export function curvePlot(points: readonly [number, number][], axes: Axes, marked: readonly [number, number] | undefined): string {
  return draw(320, {
    ...frame([], { ...axes, yShare: true }),
    series: [
      {
        type: 'line',
        lineStyle: { width: 2 },
        symbolSize: 7,
        silent: true,
        data: [...points],
        ...(marked && { markArea: { silent: true, itemStyle: { color: 'var(--s2)', opacity: 0.2 }, data: [[{ xAxis: marked[0] }, { xAxis: marked[1] }]] } }),
      },
    ],
  });
}

/** Horizontal bars, stacked: a row per category. */
export function stackedBars(categories: readonly string[], stacks: readonly { name: string; colour: string; values: number[] }[]): string {
  /** ECharts cannot measure text without a browser; 6.6 px is a character of its 12 px font. */
  const left = 16 + 6.6 * categories.reduce((longest, name) => Math.max(longest, name.length), 0);
  return draw(70 + 22 * categories.length, {
    color: stacks.map((stack) => stack.colour),
    legend: legend(),
    grid: { left, right: 30, top: 34, bottom: 30 },
    xAxis: { type: 'value', ...axisLook(), minInterval: 1 },
    yAxis: { type: 'category', inverse: true, data: [...categories], ...axisLook(), splitLine: { show: false }, axisTick: { show: false } },
    series: stacks.map(({ name, values }) => ({ name, type: 'bar', stack: 'all', barWidth: 12, silent: true, data: values })),
  });
}

/** Points of the share plot: at most 200 steps, first and last value kept. */
export function sharePoints(values: readonly number[]): [number, number][] {
  const sorted = Float64Array.from(values).sort();
  const steps = Math.min(200, sorted.length);
  const points: [number, number][] = [];
  for (let step = 1; step <= steps; step++) {
    const rank = Math.ceil((step * sorted.length) / steps);
    points.push([sorted[rank - 1]!, (100 * rank) / sorted.length]);
  }
  const first = points[0];
  return first === undefined ? [] : [[first[0], 0], ...points];
}

function frame(series: readonly Series[], axes: Axes): echarts.EChartsOption {
  return {
    color: seriesColours,
    legend: legend(),
    grid: { left: 60, right: 30, top: series.length > 6 ? 58 : 40, bottom: 48 },
    xAxis: { type: axes.xLog === true ? 'log' : 'value', name: axes.x, nameLocation: 'middle', nameGap: 30, ...axisLook() },
    yAxis: { type: 'value', name: axes.y, nameLocation: 'middle', nameGap: 44, ...axisLook(), ...(axes.yShare === true ? { min: 0, max: 100 } : {}) },
  };
}

function legend(): echarts.LegendComponentOption {
  return { top: 4, left: 'center', icon: 'circle', itemWidth: 9, itemHeight: 9, itemGap: 22, textStyle: { color: 'var(--ink)' } };
}

function axisLook(): object {
  return {
    nameTextStyle: { color: 'var(--dim)' },
    axisLabel: { color: 'var(--dim)' },
    axisLine: { lineStyle: { color: 'var(--rule)' } },
    axisTick: { lineStyle: { color: 'var(--rule)' } },
    splitLine: { lineStyle: { color: 'var(--rule)' } },
  };
}

function draw(height: number, option: echarts.EChartsOption): string {
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width, height });
  try {
    chart.setOption({ animation: false, textStyle: { fontFamily: 'inherit', color: 'var(--ink)' }, ...option });
    return chart.renderToSVGString();
  } finally {
    chart.dispose();
  }
}
