// From a classic dashboard to a scene, which is what Grafana draws today.
import {
  EmbeddedScene,
  SceneGridLayout,
  SceneGridItem,
  SceneGridRow,
  VizPanel,
  SceneQueryRunner,
  SceneDataTransformer,
  SceneTimeRange,
  SceneVariableSet,
  DataSourceVariable,
  QueryVariable,
  CustomVariable,
  IntervalVariable,
  ConstantVariable,
  TextBoxVariable,
  VariableValueSelectors,
  SceneTimePicker,
  SceneRefreshPicker,
  SceneControlsSpacer,
  sceneGraph,
  behaviors,
} from '@grafana/scenes';
import { task } from './task';

const dsRef = { type: 'prometheus', uid: 'prom' };
const variables = (task.dashboard.templating?.list ?? []).map((v: any) => {
  const common = { name: v.name, label: v.label ?? v.name, hide: v.hide ?? 0, skipUrlSync: true };
  const cur = { value: v.current?.value ?? (v.includeAll ? '$__all' : ''), text: v.current?.text ?? '' };
  switch (v.type) {
    case 'datasource':
      return new DataSourceVariable({ ...common, pluginId: v.query, value: 'prom', text: 'Prometheus' } as any);
    case 'query':
      return new QueryVariable({
        ...common,
        datasource: dsRef,
        query: v.query,
        regex: v.regex ?? '',
        sort: v.sort,
        refresh: v.refresh,
        isMulti: v.multi,
        includeAll: v.includeAll,
        allValue: v.allValue,
        definition: v.definition,
        ...cur,
      } as any);
    case 'custom':
      return new CustomVariable({
        ...common,
        query: v.query,
        isMulti: v.multi,
        includeAll: v.includeAll,
        allValue: v.allValue,
        ...cur,
      } as any);
    case 'interval':
      return new IntervalVariable({
        ...common,
        value: cur.value,
        intervals: v.query.split(','),
        autoEnabled: v.auto,
      } as any);
    case 'textbox':
      return new TextBoxVariable({ ...common, value: cur.value } as any);
    case 'constant':
      return new ConstantVariable({ ...common, value: v.query } as any);
    default:
      throw new Error('unsupported variable type ' + v.type);
  }
});
const viz = (p: any) => {
  let $data: any;
  if (p.targets?.length) {
    $data = new SceneQueryRunner({
      datasource: dsRef,
      queries: p.targets.map((t: any) => ({ ...t, datasource: dsRef })),
      maxDataPoints: p.maxDataPoints ?? undefined,
      minInterval: p.interval ?? task.minInterval,
      maxDataPointsFromWidth: true,
    } as any);
    $data = new SceneDataTransformer({ $data, transformations: p.transformations ?? [] });
  }
  return new VizPanel({
    key: 'panel-' + p.id,
    title: p.title,
    description: p.description,
    pluginId: p.type,
    options: p.options ?? {},
    fieldConfig: p.fieldConfig ?? { defaults: {}, overrides: [] },
    pluginVersion: p.pluginVersion ?? '',
    $data,
    displayMode: p.transparent ? 'transparent' : 'default',
    hoverHeader: !p.title,
  } as any);
};
const children: any[] = [];
let row: any;
for (const p of task.dashboard.panels) {
  if (p.type === 'row') {
    row = new SceneGridRow({ title: p.title, isCollapsed: false, y: p.gridPos.y, children: [] } as any);
    children.push(row);
    for (const c of p.panels ?? [])
      row.setState({ children: [...row.state.children, new SceneGridItem({ ...g(c), body: viz(c) })] });
    continue;
  }
  const it = new SceneGridItem({ ...g(p), body: viz(p) });
  if (row) row.setState({ children: [...row.state.children, it] });
  else children.push(it);
}
function g(p: any) {
  return {
    x: p.gridPos.x,
    y: p.gridPos.y,
    width: p.gridPos.w,
    height: p.gridPos.h,
    isDraggable: false,
    isResizable: false,
  } as any;
}
export const scene = new EmbeddedScene({
  $timeRange: new SceneTimeRange({
    from: new Date(task.from).toISOString(),
    to: new Date(task.to).toISOString(),
    timeZone: 'utc',
  }),
  $variables: new SceneVariableSet({ variables }),
  $behaviors: [new behaviors.CursorSync({ sync: 1 } as any)],
  controls: [
    new VariableValueSelectors({}),
    new SceneControlsSpacer(),
    new SceneTimePicker({}),
    new SceneRefreshPicker({}),
  ],
  body: new SceneGridLayout({ isLazy: false, isDraggable: false, isResizable: false, children } as any),
});
export const state = () => {
  const out: any[] = [];
  const walk = (o: any) => {
    if (o instanceof VizPanel) {
      const d: any = sceneGraph.getData(o).state.data;
      out.push({
        id: o.state.key,
        title: o.state.title,
        type: o.state.pluginId,
        state: o.state.$data ? d?.state : 'Done',
        frames: d?.series?.length ?? 0,
        err: (o.state as any)._pluginLoadError ?? d?.errors?.map((e: any) => e.message),
      });
    }
    o.forEachChild?.(walk);
  };
  walk(scene);
  return out;
};
