import type { EChartsOption } from 'echarts'
import type { ReportRun } from '../run.ts'

/** One picture of a report: plain data, so that it can be written into a page. */
export interface Chart {
  /** Name of its file, and of its place in the page. */
  readonly id: string
  readonly title: string
  /** What it shows, and how to read it. */
  readonly caption: string
  readonly option: EChartsOption
}

/** Makes a chart of runs; none where they have nothing to show. */
export type MakeChart = (runs: readonly ReportRun[]) => Chart | undefined

/** Colours that people who see colours differently can tell apart (Okabe and Ito's palette). */
export const COLOURS = [
  '#0072b2',
  '#e69f00',
  '#009e73',
  '#d55e00',
  '#56b4e9',
  '#cc79a7',
  '#8c8c00',
  '#555555',
]

/** What all charts have in common. Animations would leave a printed page half drawn. */
export const frame = (legend: boolean): EChartsOption => ({
  animation: false,
  color: COLOURS,
  textStyle: { fontFamily: 'Arial, Helvetica, sans-serif' },
  grid: { left: 70, right: 40, top: legend ? 50 : 30, bottom: 60 },
  ...(legend && { legend: { type: 'scroll', top: 8 } }),
})

/** An axis with a name below or beside it. */
export const axis = (name: string, type: 'value' | 'log' | 'category' = 'value') => ({
  type,
  name,
  nameLocation: 'middle' as const,
  nameGap: 38,
})

/** Digits that people read of a figure. */
export const rounded = (value: number, digits = 4): number => Number(value.toPrecision(digits))
