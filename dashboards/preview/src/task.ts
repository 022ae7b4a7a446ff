// What render.mjs asks for: one dashboard, one time, one theme. Owns nothing else.
import { createTheme } from '@grafana/data';

export interface Task {
  dashboard: any;
  prometheus: string;
  /** Milliseconds since the epoch. */
  from: number;
  to: number;
  theme: 'dark' | 'light';
  /** How often Prometheus scrapes. */
  minInterval: string;
}

export const task: Task = (window as any).TASK;
export const theme = createTheme({ colors: { mode: task.theme } });
/** Every query that was asked, with the number of series it gave, or its error. */
export const results: any[] = [];
