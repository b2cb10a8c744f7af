/** Which settings a panel's JSON may hold for its fields, and what Grafana's plugins assume where it holds none. */
import {
  FieldConfigOptionsRegistry,
  applyFieldOverrides,
  identityOverrideProcessor,
  standardTransformers,
  standardTransformersRegistry,
  transformDataFrame,
} from '@grafana/data';
import { lastValueFrom } from 'rxjs';

const PLAIN = ['unit', 'decimals', 'min', 'max', 'displayName', 'noValue', 'color', 'thresholds', 'mappings', 'links'];

const CUSTOM_DEFAULTS = {
  timeseries: {
    drawStyle: 'line',
    lineInterpolation: 'linear',
    lineWidth: 1,
    lineStyle: { fill: 'solid' },
    fillOpacity: 0,
    fillBelowTo: undefined,
    gradientMode: 'none',
    spanNulls: false,
    insertNulls: false,
    showPoints: 'auto',
    pointSize: 5,
    stacking: { mode: 'none', group: 'A' },
    axisPlacement: 'auto',
    axisLabel: '',
    axisSoftMin: undefined,
    axisSoftMax: undefined,
    axisBorderShow: false,
    axisColorMode: 'text',
    axisCenteredZero: false,
    barAlignment: 0,
    barWidthFactor: 0.6,
    scaleDistribution: { type: 'linear' },
    thresholdsStyle: { mode: 'off' },
    hideFrom: { legend: false, tooltip: false, viz: false },
  },
  table: { align: 'auto', minWidth: 150, cellOptions: { type: 'auto' }, filterable: false, inspect: false, width: undefined },
  stat: {},
  bargauge: {},
};
const COLOUR_DEFAULTS = { timeseries: 'palette-classic', table: 'thresholds', stat: 'thresholds', bargauge: 'thresholds' };
const THRESHOLDS = { mode: 'absolute', steps: [{ value: -Infinity, color: 'green' }] };

standardTransformersRegistry.setInit(() =>
  [
    standardTransformers.mergeTransformer,
    standardTransformers.organizeFieldsTransformer,
    standardTransformers.convertFieldTypeTransformer,
  ].map((transformation) => ({
    id: transformation.id,
    name: transformation.name,
    description: transformation.description,
    transformation,
    editor: () => null,
  }))
);

const registries = Object.fromEntries(
  Object.entries(CUSTOM_DEFAULTS).map(([type, custom]) => [
    type,
    new FieldConfigOptionsRegistry(() => [
      ...PLAIN.map((path) => registryItem(path, path, false)),
      ...Object.keys(custom).map((path) => registryItem(`custom.${path}`, path, true)),
    ]),
  ])
);

function registryItem(id, path, isCustom) {
  return { id, path, isCustom, name: id, process: identityOverrideProcessor, shouldApply: () => true, settings: {} };
}

/** The panel's settings with the plugin's defaults below them. */
export function fieldConfigOf(panel) {
  const { defaults, overrides } = panel.fieldConfig;
  return {
    defaults: {
      color: { mode: COLOUR_DEFAULTS[panel.type] },
      thresholds: THRESHOLDS,
      ...defaults,
      custom: { ...CUSTOM_DEFAULTS[panel.type], ...defaults.custom },
    },
    overrides,
  };
}

/** Frames as the panel shows them: transformed, then with units, colours and styles. */
export async function prepared(panel, frames, theme) {
  const transformed = panel.transformations?.length
    ? await lastValueFrom(transformDataFrame(panel.transformations, frames))
    : frames;
  return applyFieldOverrides({
    data: transformed,
    fieldConfig: fieldConfigOf(panel),
    fieldConfigRegistry: registries[panel.type],
    replaceVariables: (text) => text,
    theme,
    timeZone: 'utc',
  });
}
