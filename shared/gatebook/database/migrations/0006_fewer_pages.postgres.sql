-- A checkpoint is pruned soon: compressing it costs more than the room that this saves.
ALTER TABLE checkpoints ALTER COLUMN state SET STORAGE EXTERNAL;
