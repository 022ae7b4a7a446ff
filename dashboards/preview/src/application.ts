// What the Grafana application gives to its libraries when it starts: registries of editors and transformations, and
// services, as far as drawing asks for them.
import {
  LoadingState,
  standardEditorsRegistry,
  standardFieldConfigEditorRegistry,
  standardTransformersRegistry,
  standardTransformers,
  EventBusSrv,
  identityOverrideProcessor,
  numberOverrideProcessor,
  unitOverrideProcessor,
  displayNameOverrideProcessor,
  valueMappingsOverrideProcessor,
  thresholdsOverrideProcessor,
  dataLinksOverrideProcessor,
  booleanOverrideProcessor,
  stringOverrideProcessor,
  ThresholdsMode,
} from '@grafana/data';
import {
  config,
  setRunRequest,
  setAppEvents,
  setTemplateSrv,
  setPluginImportUtils,
  setBackendSrv,
} from '@grafana/runtime';
import { sceneGraph } from '@grafana/scenes';
import { Observable, from } from 'rxjs';
import { theme } from './task';

(config as any).theme2 = theme;
(config as any).theme = theme.v1;
(config as any).bootData = { user: { timezone: 'utc' }, settings: {} };
config.featureToggles = { ...(config.featureToggles ?? {}) } as any;

const std = (id: string, path: string, override: any, process: any, extra: any = {}) => ({
  id,
  path,
  name: id,
  description: '',
  editor: () => null,
  override: () => null,
  process,
  shouldApply: () => true,
  settings: {},
  ...extra,
});
standardFieldConfigEditorRegistry.setInit(
  () =>
    [
      std('unit', 'unit', 0, unitOverrideProcessor),
      std('min', 'min', 0, numberOverrideProcessor),
      std('max', 'max', 0, numberOverrideProcessor),
      std('fieldMinMax', 'fieldMinMax', 0, booleanOverrideProcessor),
      std('decimals', 'decimals', 0, numberOverrideProcessor),
      std('displayName', 'displayName', 0, displayNameOverrideProcessor),
      std('color', 'color', 0, identityOverrideProcessor),
      std('noValue', 'noValue', 0, stringOverrideProcessor),
      std('links', 'links', 0, dataLinksOverrideProcessor),
      std('actions', 'actions', 0, identityOverrideProcessor),
      std('mappings', 'mappings', 0, valueMappingsOverrideProcessor, { defaultValue: [] }),
      std('thresholds', 'thresholds', 0, thresholdsOverrideProcessor, {
        defaultValue: {
          mode: ThresholdsMode.Absolute,
          steps: [
            { value: -Infinity, color: 'green' },
            { value: 80, color: 'red' },
          ],
        },
      }),
      std('filterable', 'filterable', 0, booleanOverrideProcessor),
    ] as any,
);
standardEditorsRegistry.setInit(
  () =>
    [
      'number',
      'text',
      'strings',
      'boolean',
      'select',
      'radio',
      'unit',
      'links',
      'actions',
      'stats-picker',
      'timezone',
      'field-name',
      'color',
      'multi-select',
      'slider',
      'mappings',
      'thresholds',
      'field-color',
      'fieldColor',
      'dashboard-uid',
    ].map((id) => ({ id, name: id, editor: () => null })) as any,
);
standardTransformersRegistry.setInit(
  () =>
    [
      ...new Map(
        Object.values(standardTransformers)
          .filter((t: any) => t?.id)
          .map((t: any) => [t.id, t]),
      ).values(),
    ].map((t: any) => ({
      id: t.id,
      editor: () => null,
      transformation: async () => t,
      name: t.name,
      aliasIds: t.aliasIds,
    })) as any,
);

setAppEvents(new EventBusSrv() as any);
setPluginImportUtils({
  importPanelPlugin: async (id: string) => {
    throw new Error('no panel plugin ' + id);
  },
  getPanelPluginFromCache: () => undefined,
} as any);
setBackendSrv({ get: async () => ({}), post: async () => ({}), fetch: () => from([]) } as any);
setTemplateSrv({
  replace: (t: any, sv: any, f: any) => {
    const so = sv?.__sceneObject?.value?.valueOf?.();
    return so ? sceneGraph.interpolate(so, t, sv, f) : t;
  },
  containsTemplate: (s: string) => /\$/.test(s ?? ''),
  getVariables: () => [],
  updateTimeRange() {},
} as any);
setRunRequest(
  ((ds: any, req: any) =>
    new Observable((sub) => {
      sub.next({ state: LoadingState.Loading, series: [], timeRange: req.range, request: req });
      let cancelled = false;
      ds.query(req).then((r: any) => {
        if (cancelled) return;
        sub.next({
          state: r.errors?.length ? LoadingState.Error : LoadingState.Done,
          series: r.data,
          errors: r.errors,
          error: r.errors?.[0],
          timeRange: req.range,
          request: req,
        });
        sub.complete();
      });
      return () => {
        cancelled = true;
      };
    })) as any,
);
