import type { PlanDocument } from '../../planner/document.ts'
import { axis, type Chart, COLOURS, frame, rounded } from './chart.ts'

const FIGURES = { videos_per_s: 'videos/s', p99_ms: 'p99, ms' } as const

/** Throughput and latency of all plans that were looked at closely, as predicted. */
function front({ plans, winner }: PlanDocument): Chart | undefined {
  const shown = plans.flatMap(({ name, predicted, on_front }) =>
    predicted ? [{ name, on_front, ...predicted }] : [],
  )
  if (shown.length < 2) return undefined
  const point = ({ videos_per_s, p99_ms }: (typeof shown)[number]) => [rounded(videos_per_s), rounded(p99_ms)]
  const edge = shown
    .filter(({ on_front }) => on_front)
    .map(point)
    .sort((a, b) => a[0]! - b[0]!)
  const rate = rounded(shown[0]!.rate_per_s)
  return {
    id: 'front',
    title: 'Throughput against latency, as predicted',
    caption: `Videos/s in bulk, and p99 at ${rate} videos/s. Below and to the right is better; on the line no plan is beaten in both.`,
    option: {
      ...frame(true),
      tooltip: { trigger: 'item' },
      xAxis: { ...axis('videos/s'), scale: true },
      yAxis: axis('p99, ms'),
      series: [
        { name: 'front', type: 'line', data: edge, symbol: 'none', lineStyle: { type: 'dashed' } },
        {
          name: 'plans',
          type: 'scatter',
          data: shown.map(plan => ({ name: plan.name, value: point(plan) })),
        },
        {
          name: 'winner',
          type: 'scatter',
          symbolSize: 18,
          data: shown
            .filter(({ name }) => name === winner.name)
            .map(plan => ({ name: plan.name, value: point(plan) })),
        },
      ],
    },
  }
}

/** What the plans came to when they ran, round after round. */
function rounds({ plans, goal, proof }: PlanDocument): Chart | undefined {
  const ran = plans.filter(({ measured }) => measured.length > 0)
  if (!proof || ran.length === 0) return undefined
  return {
    id: 'race',
    title: 'Measured, round after round',
    caption:
      'Each round has one seed for all: what lies between two plans within a round is their own. A line ends where its plan was left out.',
    option: {
      ...frame(true),
      tooltip: { trigger: 'axis' },
      xAxis: { ...axis('seed', 'category'), data: proof.seeds.map(String) },
      yAxis: { ...axis(FIGURES[goal.figure]), scale: true },
      series: ran.map(({ name, measured }) => ({
        name,
        type: 'line' as const,
        data: measured.map(value => rounded(value)),
      })),
    },
  }
}

const NAMES: Readonly<Record<string, string>> = {
  videos_per_s: 'videos/s in bulk',
  p50_ms: 'p50',
  p99_ms: 'p99',
}

/** By how much the winner's predictions missed what a new seed measured. */
function errors({ proof }: PlanDocument): Chart | undefined {
  const figures = Object.entries(proof?.held_out?.figures ?? {})
  if (figures.length === 0) return undefined
  const text = figures.map(
    ([name, { predicted, measured }]) =>
      `${NAMES[name] ?? name}: ${rounded(predicted)}, measured ${rounded(measured)}`,
  )
  return {
    id: 'errors',
    title: 'Predicted against measured',
    caption: `The winner, with a seed that no run before had. ${text.join('; ')}.`,
    option: {
      ...frame(false),
      grid: { left: 140, right: 40, top: 30, bottom: 60 },
      tooltip: { trigger: 'item' },
      xAxis: axis('predicted above (+) or below (-) measured, %'),
      yAxis: { type: 'category', data: figures.map(([name]) => NAMES[name] ?? name) },
      series: [
        { type: 'bar', barMaxWidth: 36, data: figures.map(([, { error }]) => rounded(100 * error, 3)) },
      ],
    },
  }
}

/** The share of the time for which what the winner has is at work. */
function use({ winner }: PlanDocument): Chart | undefined {
  if (!winner.use) return undefined
  const bars = Object.entries(winner.use)
    .filter(([, share]) => share > 0)
    .sort((a, b) => a[1] - b[1])
  if (bars.length === 0) return undefined
  return {
    id: 'use',
    title: 'What is at work, as predicted',
    caption:
      'The share of the time for which threads and shared resources are busy under its load. The fullest is the bottleneck.',
    option: {
      ...frame(false),
      grid: { left: 330, right: 40, top: 30, bottom: 60 },
      tooltip: { trigger: 'item' },
      xAxis: { ...axis('busy, %'), max: 100 },
      yAxis: { type: 'category', data: bars.map(([name]) => name) },
      series: [
        {
          type: 'bar',
          barMaxWidth: 24,
          data: bars.map(([name, share]) => ({
            value: rounded(100 * share, 3),
            itemStyle: { color: name.startsWith('step') ? COLOURS[0]! : COLOURS[1]! },
          })),
        },
      ],
    },
  }
}

/** What one more of each thing would change. */
function more({ more: list, goal }: PlanDocument): Chart | undefined {
  if (list.length === 0) return undefined
  const change = ({ from, to }: (typeof list)[number]) => rounded((100 * (to - from)) / Math.abs(from), 3)
  const better = goal.figure === 'videos_per_s' ? 'more' : 'less'
  const bars = [...list].reverse()
  return {
    id: 'more',
    title: 'What one more would bring, as predicted',
    caption: `Change of ${FIGURES[goal.figure]} of the best plan by prediction; ${better} is better.`,
    option: {
      ...frame(false),
      grid: { left: 330, right: 40, top: 30, bottom: 60 },
      tooltip: { trigger: 'item' },
      xAxis: axis('change, %'),
      yAxis: { type: 'category', data: bars.map(({ what }) => what) },
      series: [{ type: 'bar', barMaxWidth: 24, data: bars.map(change) }],
    },
  }
}

/** The charts that a plan has something to show in. */
export const planCharts = (document: PlanDocument): Chart[] =>
  [front, errors, rounds, use, more].map(make => make(document)).filter(chart => chart !== undefined)
